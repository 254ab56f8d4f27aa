"""A bundle against its network on the whole calibration split: the same exit and label for each image?

    python benchmarks/parity.py RUN BUNDLE

RUN holds the predictions that `calibrate` wrote. Answers may differ only where a confidence lies within 1e-4 of its
threshold, or the top two logits within 1e-4 of each other; ends with status 1 where another one does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.data.load import load_dataset
from shallowdeep.exits.policy import decide
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import scan_exits
from shallowdeep.inference.bundle import preprocessing_of, read_bundle
from shallowdeep.inference.engine import EarlyExitEngine

NEAR = 1e-4
BATCH = 64


def compare(run: Path, path: Path) -> dict[str, Any]:
    """Numbers of images, of different answers, and of those that rounding does not explain."""
    bundle = read_bundle(path)
    policy, settings, wanted = bundle.policy, dict(bundle.data), preprocessing_of(bundle)
    splits = load_dataset(settings.pop("source"), image_size=wanted.size, preprocessing=wanted, **settings)
    engine = EarlyExitEngine(bundle)
    counts = {"images": 0, "different": 0, "unexplained": 0}
    for name in ("tune", "certify"):
        part, saved = splits.split(name), ExitPredictions.load(run / "predictions" / f"{name}.npz")
        expected = decide(policy, saved.logits)
        used = np.stack([saved.logits[k] / policy.temperature_at(k) for k in policy.in_use])
        confidence, scores = scan_exits(policy.signal, used, len(policy.in_use), policy.ensemble)
        limits = np.asarray([policy.threshold_at(k) for k in policy.in_use])[:, None]
        top = np.sort(scores, axis=-1)
        close = (np.abs(confidence - limits)[:-1] < NEAR).any(axis=0) | (top[..., -1] - top[..., -2] < NEAR).any(axis=0)
        for first in range(0, len(part), BATCH):
            places = np.arange(first, min(first + BATCH, len(part)))
            images, _ = part.fetch(places)
            got = engine(wanted.normalize(images).contiguous().numpy())
            differs = (got.exits != expected.exits[places]) | (got.labels != expected.labels[places])
            counts["images"] += len(places)
            counts["different"] += int(differs.sum())
            counts["unexplained"] += int((differs & ~close[places]).sum())
    return counts


if __name__ == "__main__":
    found = compare(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(found))
    sys.exit(1 if found["unexplained"] else 0)
