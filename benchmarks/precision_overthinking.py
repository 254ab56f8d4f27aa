"""Do bf16 and int8 change overthinking, confusion and the exits taken? Do early exits rescue what int8 breaks?

    python benchmarks/precision_overthinking.py results/overthinking/precision.json RUN [RUN ...]

Each RUN has a policy (`calibrate`), which is applied as it is at every precision. Everything is counted on its test
split. Every difference from float32 is paired by image, with a 95 % bootstrap interval over images; shares of some
images have exact binomial intervals, since some are of few.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from shallowdeep.analysis.bootstrap import weights
from shallowdeep.analysis.confusion_levels import confusion_scores
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.data.batches import Batches
from shallowdeep.documents import plain
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json
from shallowdeep.inference.export import BundleWriter
from shallowdeep.inference.precision import INT8, PRECISIONS, Precision
from shallowdeep.inference.runtime_prediction import RuntimeExits
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.progress import TerminalProgress
from shallowdeep.runs.confusion_file import read_statistics
from shallowdeep.runs.splits import own_splits, scaling_images

RESAMPLES = 2000
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def per_image(pred: ExitPredictions, policy: Policy, confusion: Floats) -> dict[str, NDArray[Any]]:
    """What is compared, image by image, (N,) each; means are shares."""
    labels, answers = to_numpy(pred.labels), to_numpy(pred.logits).argmax(axis=-1)
    right = answers == labels
    outcome = outcome_of(policy, pred)
    early = right[:-1].any(axis=0)
    return {
        "right at the final exit": right[-1],
        "right by the policy": outcome.right,
        "some exit right": right.any(axis=0),
        "wasteful": early,
        "destructive": early & ~right[-1],
        "confusion": confusion,
        "mean exit of the policy": outcome.exits,
        "relative cost": outcome.costs,
    }  # fmt: skip


def difference(values: Floats, base: Floats) -> dict[str, Any]:
    """The mean of ``values - base`` over images, (N,) each, and its 95 % bootstrap interval."""
    apart = values - base
    draws = np.concatenate([block @ apart / len(apart) for block in weights(len(apart), RESAMPLES)])
    return {"mean": float(apart.mean()), "interval": np.quantile(draws, [0.025, 0.975]).tolist()}


def share(which: Flags, given: Flags | None = None) -> dict[str, Any]:
    """The share of ``which`` among all images, or among those ``given``, (N,) each, and its exact 95 % interval."""
    counted = which if given is None else which[given]
    if not len(counted):
        return {"mean": None, "interval": None, "images": 0}
    found = binomtest(int(counted.sum()), len(counted))
    interval = found.proportion_ci(0.95)
    return {"mean": found.statistic, "interval": [interval.low, interval.high], "images": len(counted)}


def compared(run: Path, context: RunContext) -> dict[str, Any]:
    """One run at every precision."""
    network = load(run, trust=context.trust).cpu()
    splits = own_splits(run, network, None, context=context)
    policy, statistics = read_policy(run / "policy.json", network.weights), read_statistics(run, network.weights)
    preds: dict[str, ExitPredictions] = {}
    for name in PRECISIONS:
        precision = Precision(name, scaling_images(splits) if name == INT8 else None)
        with (
            RuntimeExits(BundleWriter(network, "openvino", precision), context.progress) as exits,
            context.progress.start(f"{run.name} in {exits.name}", "images", len(splits.test)) as bar,
        ):
            preds[name] = exits.predict(Batches(splits.test, splits.preprocessing, 64), bar)
    found = {
        name: per_image(pred, policy, confusion_scores(to_numpy(pred.logits), statistics))
        for name, pred in preds.items()
    }
    f32, document = preds["f32"], dict[str, Any]()
    for name, pred in preds.items():
        mine, base = found[name], found["f32"]
        document[name] = {
            what: {
                "mean": float(np.mean(values)),
                "minus f32": difference(values.astype(float), base[what].astype(float)),
            }
            for what, values in mine.items()
        }
        here, there = (outcome_of(policy, one) for one in (pred, f32))
        document[name]["another exit than in f32"] = share(here.exits != there.exits)
        document[name]["another final answer than in f32"] = share(
            to_numpy(pred.logits)[-1].argmax(-1) != to_numpy(f32.logits)[-1].argmax(-1)
        )
        broken = base["right at the final exit"] & ~mine["right at the final exit"]
        document[name]["of those broken at the final exit"] = {
            "right by the policy": share(mine["right by the policy"], broken),
            "right at some exit before": share(mine["wasteful"], broken),
        }
        same = ~base["right at the final exit"] & ~mine["right at the final exit"]
        document[name]["of those wrong at the final exit in both"] = {
            "right by the policy": share(mine["right by the policy"], same),
        }
    return {"images": f32.samples, "policy": plain(policy.thresholds), "precisions": document}


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    with TerminalProgress() as progress:
        runs = {run.name: compared(run, RunContext(progress=progress)) for run in given.runs}
    write_json(given.out, {"runs": runs, "resamples": RESAMPLES, "machine": plain(this_machine(available_cores()))})


if __name__ == "__main__":
    main()
