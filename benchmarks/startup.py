"""How long one waits before anything happens: `shallowdeep --help`, converting a network, a bundle's first answer.

    python benchmarks/startup.py [--first-answer BUNDLE ...] [--images IMAGES.npy] [--only-first-answer]

A first answer is timed from the start of a process, for the engine and the static network of each BUNDLE, which take
turns: cold with an empty directory of compiled models, warm with a filled one. With --only-first-answer the other
figures stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import RESULTS, alternate, publish

from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert

NETWORKS = {"resnet56": 32, "torchvision:vit_b_16": 224}
GOALS = {"help": 0.5, "resnet56": 2.0, "torchvision:vit_b_16": 6.0}


def show_help() -> None:
    """Start the program in a process of its own."""
    subprocess.run([sys.executable, "-m", "shallowdeep", "--help"], check=True, capture_output=True)


def conversion_seconds(name: str, size: int, rounds: int) -> list[float]:
    """Seconds of each conversion of a freshly built network."""
    seconds = []
    for _ in range(rounds):
        network = build(name, num_classes=10, image_size=size)
        started = time.perf_counter()
        convert(network, torch.zeros(1, 3, size, size))
        seconds.append(time.perf_counter() - started)
    return seconds


FIRST = """
import sys, numpy as np
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.backends.registry import backend_module
from shallowdeep.inference.engine import EarlyExitEngine
side, path, images, size, threads = sys.argv[1:]
x = np.ascontiguousarray(np.load(images, mmap_mode="r")[: int(size)])
if side == "engine":
    EarlyExitEngine(path, threads=int(threads))(x)
else:
    bundle = read_bundle(path, static=True)
    backend_module(bundle.backend).open_static(bundle, int(threads), "process")(x)
print("answered", flush=True)
"""
SIDES = ("static", "engine")
BATCHES = (1, 64)


def first_answer(side: str, bundle: Path, images: Path, size: int, compiled: Path) -> float:
    """Seconds from the start of a process to its first answer."""
    environment = {**os.environ, "SHALLOWDEEP_CACHE": str(compiled)}
    command = [sys.executable, "-c", FIRST, side, str(bundle), str(images), str(size), str(available_cores())]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        seconds = time.perf_counter() - started
    if line.strip() != "answered":
        raise SystemExit(f"Expected an answer of {bundle}, got none")
    return seconds


def first_answers(bundle: Path, images: Path, rounds: int) -> dict[str, Any]:
    """Seconds of both sides, cold and warm, at each batch size, and the engine's over the static network's."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in BATCHES:
            times: dict[str, list[float]] = {f"{side} {state}": [] for state in ("cold", "warm") for side in SIDES}
            for number in range(rounds):
                for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                    own = Path(folder) / f"{size}-{number}-{side}"
                    times[f"{side} cold"].append(first_answer(side, bundle, images, size, own))
                    times[f"{side} warm"].append(first_answer(side, bundle, images, size, own))
            found[f"batch {size}"] = {
                "seconds": {name: [round(value, 3) for value in values] for name, values in times.items()},
                "median": {name: round(float(np.median(values)), 3) for name, values in times.items()},
                "engine_over_static": {
                    state: round(float(np.median(np.divide(times[f"engine {state}"], times[f"static {state}"]))), 2)
                    for state in ("cold", "warm")
                },
            }
    return found


def described(bundle: Path) -> dict[str, Any]:
    """What a bundle is."""
    read = read_bundle(bundle, static=True)
    return {
        "bundle": "/".join(bundle.parts[-2:]), "model": read.model, "backend": read.backend,
        "precision": read.precision, "segments": len(read.segments),
        "runtime": None if read.runtime is None else read.runtime.version,
    }  # fmt: skip


def publish_first_answers(bundles: Sequence[Path], images: Path | None, rounds: int) -> None:
    """Measure bundles and put the figures beside the others."""
    path, entries = RESULTS / "startup.json", []
    with tempfile.TemporaryDirectory() as folder:
        for bundle in bundles:
            shape = read_bundle(bundle).input_shape
            drawn = Path(folder) / "drawn.npy"
            np.save(drawn, np.random.default_rng(0).normal(size=(max(BATCHES), *shape)).astype(np.float32))
            entries.append({**described(bundle), **first_answers(bundle, images or drawn, rounds)})
            print(json.dumps(entries[-1], indent=2))
    document = json.loads(path.read_text()) if path.exists() else {"benchmark": "startup"}
    document["first_answer"] = {
        "what": "seconds from the start of a process to the first answer; cold: no model compiled before",
        "images": "of the test split" if images else "normal random numbers",
        "goal": {"engine_over_static": 2.0},
        "bundles": entries,
        "machine": plain(this_machine(available_cores())),
    }
    write_json(path, document)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-answer", type=Path, nargs="*", default=[], metavar="BUNDLE")
    parser.add_argument("--images", type=Path, help="(N, C, H, W) float32, normalised")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-first-answer", action="store_true")
    arguments = parser.parse_args()
    if not arguments.only_first_answer:
        publish_waits()
    if arguments.first_answer:
        publish_first_answers(arguments.first_answer, arguments.images, arguments.rounds)


def publish_waits() -> None:
    """Measure `--help` and conversions."""
    seconds = {"help": alternate({"help": show_help}, rounds=9)["help"]}
    for name, size in NETWORKS.items():
        seconds[name] = conversion_seconds(name, size, rounds=5)
    publish(
        "startup",
        {
            "what": "seconds until `shallowdeep --help` has printed, and of `convert` (the first warms up torch)",
            "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
            "median": {name: round(sorted(values)[len(values) // 2], 3) for name, values in seconds.items()},
            "goal": GOALS,
        },
    )


if __name__ == "__main__":
    main()
