"""Engine and static network at every precision there is here, taking turns: what exits gain over the best static one.

    python benchmarks/precisions.py RUN results/speed/NAME.json [--max-accuracy-loss 0.01 | --budget 0.5]

A copy of RUN is planned on its `tune` images; the plan's exits are calibrated on each runtime's own outputs, exported,
and timed on `test` images; RUN stays as it is. The divisor is the fastest static contender at any precision whose
accuracy on the images timed is within a point of float32's, compiled for the fixed batch; from 64 images on also on two
streams with asynchronous requests. ``--within 1.5`` times only runtimes whose static network takes, by the plan, at
most so many times the fastest one's milliseconds at some size. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
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

RUNTIMES = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8"))
WITHIN = 0.01  # of the float32 network's accuracy: static contenders that lose more are no divisor
STREAMS = f"{STATIC} openvino int8, two streams"
STREAMS_FROM = 64  # images in a batch
CHUNK = 256


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command; its notes are shown."""
    print("$ shallowdeep", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "shallowdeep", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


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


def near(plan: dict[str, Any], times: float) -> list[tuple[str, str]]:
    """Runtimes whose static network takes at most so many times the fastest one's time at some size, by a plan."""
    statics = plan["statics"]
    fastest = [min(column) for column in zip(*(row["milliseconds"] for row in statics), strict=True)]
    return [
        (row["backend"], row["precision"])
        for row in statics
        if any(mine <= times * least for mine, least in zip(row["milliseconds"], fastest, strict=True))
    ]


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


def main() -> None:  # noqa: PLR0915 - a script, from top to bottom
    """Plan, calibrate, export, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-accuracy-loss", default="0.01")
    parser.add_argument("--budget")
    parser.add_argument("--batch-sizes", default="1,8,64,256")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--within", type=float, default=math.inf)
    parser.add_argument("--trust", action="store_true")
    given = parser.parse_args()
    asked = ["--budget", given.budget] if given.budget else ["--max-accuracy-loss", given.max_accuracy_loss]
    trust = ["--trust"] if given.trust else []
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        work, calibrated = Path(directory), dict[str, Any]()
        run = str(work / "run")
        shutil.copytree(given.run, run, ignore=shutil.ignore_patterns("predictions"))
        plan = shallowdeep("plan", run, *asked, "--batch-sizes", given.batch_sizes, *trust)
        plan["run"] = given.run.name  # not the copy's place
        best = plan["finalists"][0]["exits"] if plan["finalists"] else []
        kept = ["--exits", ",".join(map(str, best))] if best else ["--no-plan"]
        timed = near(plan, given.within)
        for backend, precision in timed:
            lower = [] if precision == "f32" else ["--backend", backend, "--precision", precision]
            name = f"{backend} {precision}"
            found = shallowdeep("calibrate", run, *asked, *lower, *kept, *trust)
            calibrated[name] = {key: found[key] for key in ("tune", "certify", "test", "promise")}
            calibrated[name]["thresholds"] = found["policy"]["thresholds"]
            shallowdeep(
                "export", run, "--backend", backend, "--precision", precision, "--out", str(work / name), *trust
            )
        bundles = {f"{b} {p}": read_bundle(work / f"{b} {p}", static=True) for b, p in timed}
        labelled = labelled_images(next(iter(bundles.values())), None)
        images, count = work / "images.npy", len(labelled.labels)
        np.save(images, labelled.images)
        contenders: dict[str, Any] = {
            f"{side} {name}": Contender(bundle, side, images, given.threads, stack)
            for side in (STATIC, ENGINE)
            for name, bundle in bundles.items()
        }
        said = {name: answers(contender.at(1), count) for name, contender in contenders.items()}
        right = {name: float((given_["labels"] == labelled.labels).mean()) for name, given_ in said.items()}
        right[STREAMS] = right[f"{STATIC} openvino int8"]
        sizes = [int(size) for size in given.batch_sizes.split(",")]
        floor = float32_accuracy(run, labelled, trust=given.trust) - WITHIN
        batches = []
        for size in sizes:
            here = dict(contenders)
            if size >= STREAMS_FROM:
                here[STREAMS] = Streams(bundles["openvino int8"], images, given.threads, stack)
            batch = at_size(here, {name for name, value in right.items() if value >= floor}, size, given.rounds)
            batch["ideal"] = {
                name: ideal(bundle, contenders[f"{ENGINE} {name}"].at(size), said[f"{ENGINE} {name}"]["exits"], size)
                for name, bundle in bundles.items()
            }
            batches.append(batch)
    document = {
        "run": given.run.name, "model": next(iter(bundles.values())).model, "asked": asked, "images": count,
        "rounds": given.rounds, "timed": [f"{b} {p}" for b, p in timed], "accuracy": right,
         "plan": plan, "calibrated": calibrated, "batches": batches,
        "machine": plain(this_machine(given.threads)),
        "instructions": {precision: instruction_set(precision) for precision in ("f32", "bf16", "int8")},
    }  # fmt: skip
    write_json(given.out, document)
    print(plan["sentence"])
    for batch in batches:
        print(f"batch {batch['batch_size']}, best: {batch['best_static']}")
        for name, ratio in batch["over_best_static"].items():
            shown = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            print(f"  {name:34} {batch['milliseconds'][name]:8.2f} ms  x{shown}  {100 * right[name]:.2f} %")


if __name__ == "__main__":
    main()
