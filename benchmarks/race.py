"""Bundles of one network at several precisions against its static network, taking turns.

    python benchmarks/race.py RUN BUNDLE... --out results/speed/NAME.json [--batch-sizes 1,8,64,256] [--rounds 15]

Each bundle's engine and static network, as `shallowdeep export` wrote them, are timed on `test` samples. The divisor is
the fastest static contender at any precision whose accuracy on them is within a point of float32's, compiled for the
fixed batch; from 64 samples on also on two streams with asynchronous requests. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shallowdeep.bench.ideal import ideal_speedup
from shallowdeep.bench.runtime_times import Contender
from shallowdeep.bench.turns import seconds_in_turns
from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import Process, closing, paired_ratio, start
from shallowdeep.checkpoint import load
from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.inference.bundle import Bundle, read_bundle
from shallowdeep.instruction_set import instruction_set
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.workflows.bench import LabelledImages, labelled_images

WITHIN = 0.01  # of the float32 network's accuracy: static contenders that lose more are no divisor
STREAMS = f"{STATIC} openvino int8, two streams"
STREAMS_FROM = 64  # images in a batch
CHUNK = 256


class Streams:
    """A contender of one process: OpenVINO's static network on two streams."""

    def __init__(self, bundle: Bundle, images: Path, threads: int, stack: contextlib.ExitStack) -> None:
        command = [
            str(Path(__file__).with_name("streams_worker.py")),
            str(bundle.path),
            STATIC,
            "",
            str(threads),
            str(images),
        ]
        self.process = stack.enter_context(closing([start("", command, threads)]))[0]

    def at(self, size: int) -> Process:
        """The process."""
        del size
        return self.process


def answers(process: Process, count: int) -> dict[str, np.ndarray[Any, Any]]:
    """What a contender says of all images: labels, and from an engine exits."""
    parts = [process.order("answers", first=first, size=min(CHUNK, count - first)) for first in range(0, count, CHUNK)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def ideal(bundle: Bundle, process: Process, exits: np.ndarray[Any, Any], size: int) -> float:
    """The speed-up of the static network stopped where each image stops, by the segments' time on whole batches."""
    spans = np.median([process.order("segments", first=turn * size, size=size, repeats=5) for turn in range(3)], axis=0)
    places = np.searchsorted([segment.exit for segment in bundle.segments], exits)
    costs = [segment.relative_cost for segment in bundle.segments]
    return ideal_speedup(places, spans, costs, float(spans.sum())).by_time


def float32_accuracy(run: str, labelled: LabelledImages, *, trust: bool) -> float:
    """Accuracy of the network's final exit in PyTorch."""
    backbone = load(run, trust=trust).to_backbone().eval()
    with torch.no_grad():
        starts = range(0, len(labelled.images), CHUNK)
        parts = [torch.from_numpy(labelled.images[start : start + CHUNK]) for start in starts]
        said = np.concatenate([backbone(part).argmax(dim=1).numpy() for part in parts])
    return float((said == labelled.labels).mean())


def at_size(contenders: dict[str, Any], allowed: set[str], size: int, rounds: int) -> dict[str, Any]:
    """One batch size: milliseconds, and each contender's ratio to the fastest static one of those allowed."""
    print(f"timing batches of {size}", file=sys.stderr)
    seconds = seconds_in_turns(contenders, size, rounds)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    divisor = min((name for name in medians if name.startswith(STATIC) and name in allowed), key=medians.__getitem__)
    return {
        "batch_size": size,
        "best_static": divisor,
        "milliseconds": {name: 1e3 * value for name, value in medians.items()},
        "over_best_static": {name: plain(paired_ratio(seconds[divisor], values)) for name, values in seconds.items()},
    }


def race(
    run: str, bundles: Mapping[str, Bundle], sizes: list[int], rounds: int, threads: int, *, trust: bool
) -> dict[str, Any]:
    """Accuracy of each contender, and for each size of batch milliseconds and ratios.

    Args:
        run: the network's.
        bundles: of it, by runtime and precision.
        sizes: of batches.
        rounds: of turns.
        threads: of each process.
        trust: run code that the run names.
    """
    labelled = labelled_images(next(iter(bundles.values())), None)
    count = len(labelled.labels)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        images = Path(directory) / "images.npy"
        np.save(images, labelled.images)
        contenders: dict[str, Any] = {
            f"{side} {name}": Contender(bundle, side, images, threads, stack)
            for side in (STATIC, ENGINE)
            for name, bundle in bundles.items()
        }
        said = {name: answers(contender.at(1), count) for name, contender in contenders.items()}
        right = {name: float((given["labels"] == labelled.labels).mean()) for name, given in said.items()}
        streams = "openvino int8" in bundles
        if streams:
            right[STREAMS] = right[f"{STATIC} openvino int8"]
        floor = float32_accuracy(run, labelled, trust=trust) - WITHIN
        batches = []
        for size in sizes:
            here = dict(contenders)
            if streams and size >= STREAMS_FROM:
                here[STREAMS] = Streams(bundles["openvino int8"], images, threads, stack)
            batch = at_size(here, {name for name, value in right.items() if value >= floor}, size, rounds)
            batch["ideal"] = {
                name: ideal(bundle, contenders[f"{ENGINE} {name}"].at(size), said[f"{ENGINE} {name}"]["exits"], size)
                for name, bundle in bundles.items()
            }
            batches.append(batch)
    return {
        "images": count, "rounds": rounds, "accuracy": right, "batches": batches,
        "machine": plain(this_machine(threads)),
        "instructions": {precision: instruction_set(precision) for precision in ("f32", "bf16", "int8")},
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """Print what a race gave."""
    for batch in found["batches"]:
        print(f"batch {batch['batch_size']}, best: {batch['best_static']}")
        for name, ratio in batch["over_best_static"].items():
            shown = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            print(f"  {name:34} {batch['milliseconds'][name]:8.2f} ms  x{shown}  {100 * found['accuracy'][name]:.2f} %")
        print(f"  ideal: {', '.join(f'{name} {value:.2f}' for name, value in batch['ideal'].items())}")


def main() -> None:
    """Race bundles, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-sizes", default="1,8,64,256")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--trust", action="store_true")
    given = parser.parse_args()
    opened = [read_bundle(path, static=True) for path in given.bundles]
    bundles = {f"{bundle.backend} {bundle.precision}": bundle for bundle in opened}
    sizes = [int(size) for size in given.batch_sizes.split(",")]
    found = race(str(given.run), bundles, sizes, given.rounds, given.threads, trust=given.trust)
    policies = {name: list(bundle.policy.thresholds) for name, bundle in bundles.items()}
    write_json(given.out, {"run": given.run.name, "thresholds": policies, **found})
    show(found)


if __name__ == "__main__":
    main()
