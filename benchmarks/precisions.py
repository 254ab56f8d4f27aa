"""Engine and static network at every precision there is here, taking turns: what exits gain over the best static one.

    python benchmarks/precisions.py RUN results/speed/NAME/precisions.json [--max-accuracy-loss 0.01 | --budget 0.5]

A copy of RUN is calibrated on each runtime's own outputs, exported and timed; RUN stays as it is. The divisor is the
fastest static contender at any precision whose accuracy on the images timed is within a point of float32's. Run it on
an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.bench.comparison import workers
from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import Process, batches_a_turn, best_pool, closing, paired_ratio
from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.workflows.bench import labelled_images

RUNTIMES = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8"))
WITHIN = 0.01  # of the float32 network's accuracy: static contenders that lose more are no divisor
CHUNK = 256


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command; its notes are shown."""
    print("$ shallowdeep", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "shallowdeep", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def accuracy(process: Process, labels: np.ndarray[Any, Any]) -> float:
    """Share of the images that a contender has right."""
    given: list[int] = []
    for first in range(0, len(labels), CHUNK):
        given += process.order("answers", first=first, size=min(CHUNK, len(labels) - first))["labels"]
    return float((np.asarray(given) == labels).mean())


def timed(contenders: dict[str, list[Process]], size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a batch of each contender in every round, by the pool of threads that suits it; they take turns."""
    chosen: dict[str, tuple[Process, int]] = {}
    for name, processes in contenders.items():
        count = batches_a_turn(processes, size)
        chosen[name] = best_pool(processes, size, count), count
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(rounds):
        names = list(chosen)
        for name in names if number % 2 == 0 else reversed(names):
            process, count = chosen[name]
            spent = process.order("time", first=number * size * count, size=size, batches=count)
            seconds[name].append(spent / count)
    return seconds


def at_size(contenders: dict[str, list[Process]], right: dict[str, float], size: int, rounds: int) -> dict[str, Any]:
    """One batch size: milliseconds, and each contender's ratio to the best static one."""
    seconds = timed(contenders, size, rounds)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    float32 = right[f"{STATIC} onnxruntime f32"]
    allowed = [name for name in medians if name.startswith(STATIC) and right[name] >= float32 - WITHIN]
    best = min(allowed, key=lambda name: medians[name])
    return {
        "batch_size": size,
        "best_static": best,
        "milliseconds": {name: 1e3 * value for name, value in medians.items()},
        "over_best_static": {name: plain(paired_ratio(seconds[best], values)) for name, values in seconds.items()},
    }


def main() -> None:
    """Calibrate, export, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-accuracy-loss", default="0.01")
    parser.add_argument("--budget")
    parser.add_argument("--batch-sizes", default="1,8,64,256")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=available_cores())
    arguments = parser.parse_args()
    asked = ["--budget", arguments.budget] if arguments.budget else ["--max-accuracy-loss", arguments.max_accuracy_loss]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        work, calibrated = Path(directory), dict[str, Any]()
        shutil.copytree(arguments.run, work / "run", ignore=shutil.ignore_patterns("predictions"))
        for backend, precision in RUNTIMES:
            lower = [] if precision == "f32" else ["--backend", backend, "--precision", precision]
            name = f"{backend} {precision}"
            found = shallowdeep("calibrate", str(work / "run"), *asked, *lower)
            calibrated[name] = {key: found[key] for key in ("tune", "certify", "test", "promise")}
            calibrated[name]["thresholds"] = found["policy"]["thresholds"]
            made = ["--backend", backend, "--precision", precision, "--out", str(work / name)]
            shallowdeep("export", str(work / "run"), *made)
        first = read_bundle(work / f"{RUNTIMES[0][0]} {RUNTIMES[0][1]}", static=True)
        images = labelled_images(first, None)
        np.save(work / "images.npy", images.images)
        contenders = {
            f"{side} {backend} {precision}": stack.enter_context(
                closing(
                    workers(
                        read_bundle(work / f"{backend} {precision}", static=True), side, work / "images.npy",
                        arguments.threads,
                    )
                )
            )
            for side in (STATIC, ENGINE)
            for backend, precision in RUNTIMES
        }  # fmt: skip
        right = {name: accuracy(processes[0], images.labels) for name, processes in contenders.items()}
        sizes = [int(size) for size in arguments.batch_sizes.split(",")]
        batches = [at_size(contenders, right, size, arguments.rounds) for size in sizes]
    document = {
        "run": arguments.run.name, "model": first.model, "asked": asked, "images": len(images.labels),
        "rounds": arguments.rounds, "accuracy": right, "calibrated": calibrated, "batches": batches,
        "machine": plain(this_machine(arguments.threads)),
    }  # fmt: skip
    write_json(arguments.out, document)
    for batch in batches:
        print(f"batch {batch['batch_size']}, best: {batch['best_static']}")
        for name, ratio in batch["over_best_static"].items():
            shown = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            print(f"  {name:28} {batch['milliseconds'][name]:8.2f} ms  x{shown}  {100 * right[name]:.2f} %")


if __name__ == "__main__":
    main()
