"""How long an analysis of 10,000 samples x 7 exits x 200 classes takes, and how much memory; made-up logits, seed 0.

python benchmarks/analysis_speed.py [RUN]     # prints JSON; with a RUN also the time of `report` on it
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.analysis.findings import findings_of
from shallowdeep.analysis.recorded import Recorded
from shallowdeep.documents import plain
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.machine import this_machine

EXITS, SAMPLES, CLASSES, TUNE = 7, 10_000, 200, 1_667
REPEATS = 3


def made_up(samples: int, seed: int) -> dict[str, Any]:
    """Exits that get better with depth."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, samples)
    logits = generator.normal(size=(EXITS, samples, CLASSES)).astype(np.float32)
    for k in range(EXITS):
        logits[k, np.arange(samples), labels] += 1.5 + 0.4 * k
    return {"logits": logits, "labels": labels, "costs": np.linspace(0.15, 1.0, EXITS)}


def main() -> None:
    """Time with and without resampling, each several times; the median counts."""
    recorded, tune = Recorded(**made_up(SAMPLES, 0)), ExitPredictions(**made_up(TUNE, 1))
    statistics = ConfusionStatistics.over([tune.logits])
    seconds: dict[str, float] = {}
    for resamples in (0, 1000):
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            findings_of(recorded, tune=tune, statistics=statistics, resamples=resamples)
            times.append(time.perf_counter() - started)
        seconds[f"{resamples} resamples"] = round(float(np.median(times)), 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    document: dict[str, Any] = {"seconds": seconds, "peak_gib": round(peak, 2), "machine": plain(this_machine(2))}
    for run in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as directory:
            started = time.perf_counter()
            command = [sys.executable, "-m", "shallowdeep", "report", run, "--out", str(Path(directory) / "page.html")]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            document[f"report {run}"] = round(time.perf_counter() - started, 1)
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
