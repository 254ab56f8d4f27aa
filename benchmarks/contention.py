"""How waiting OpenMP threads slow torch down beside other busy processes, and what shorter waits cost alone.

    python benchmarks/contention.py --neighbours 0 --rounds 20
    python benchmarks/contention.py --neighbours 1 2 --rounds 8

Each setting of the OpenMP runtime runs in a process of its own; all take turns, in alternating order, beside so many
single-threaded processes that never rest. A turn lasts about half a second. The conditions measured replace those of
an earlier call in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from paired import RESULTS, paired_ratio, publish

from shallowdeep.bench.neighbour import busy_neighbour
from shallowdeep.bench.workers import Process, closing
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.training.hyperparameters import EVERYTHING, hyperparameters
from shallowdeep.training.losses import exit_loss, exit_weights
from shallowdeep.training.optimization import build_optimizer

DEFAULT = "default"
SETTINGS: dict[str, dict[str, str]] = {
    DEFAULT: {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)} for count in (0, 1_000, 10_000, 100_000)},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
BATCH, SIDE, SMALL_BATCH = 128, 32, 8
SECONDS_A_TURN = 0.5
NAME = "contention"


def training() -> Callable[[], object]:
    """A function that does one step of `train --recipe joint` on a CPU, on random images."""
    torch.manual_seed(0)
    backbone = build("resnet20", num_classes=10, image_size=SIDE)
    network = convert(backbone, torch.zeros(1, 3, SIDE, SIDE)).train().to(memory_format=torch.channels_last)
    images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.arange(BATCH) % 10
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, hyperparameters(EVERYTHING, "resnet20"))
    weights = (*exit_weights([exit_.fraction for exit_ in network.exits[:-1]], 1, 12), 1.0)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        loss = exit_loss(logits, labels, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        optimizer.step()

    return step


def inference() -> Callable[[], object]:
    """A function that runs resnet20 on a small batch in float32."""
    torch.manual_seed(0)
    network = build("resnet20", num_classes=10, image_size=SIDE).eval().to(memory_format=torch.channels_last)
    images = torch.randn(SMALL_BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> object:
        return network(images)

    return run


WORK = {"training": training, "inference": inference}


def serve() -> None:
    """Answer orders, one a line, with the milliseconds a step over a turn."""
    steps = {name: make() for name, make in WORK.items()}
    for step in steps.values():
        step()
        step()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        step, count, started = steps[json.loads(line)["do"]], 0, time.perf_counter()
        while count == 0 or time.perf_counter() - started < SECONDS_A_TURN:
            step()
            count += 1
        print(json.dumps(1e3 * (time.perf_counter() - started) / count), flush=True)


def started(setting: dict[str, str], threads: int) -> Process:
    """A process with this setting and no other."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    handle = subprocess.Popen(
        [sys.executable, __file__, "serve"], env={**kept, "OMP_NUM_THREADS": str(threads), **setting},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    return Process("", handle)


def measure(processes: dict[str, Process], neighbours: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a step of each setting beside so many busy processes, and how many times as fast as the default."""
    times: dict[str, dict[str, list[float]]] = {work: {name: [] for name in processes} for work in WORK}
    with contextlib.ExitStack() as stack:
        for _ in range(neighbours):
            stack.enter_context(busy_neighbour())
        for number in range(rounds):
            for work, found in times.items():
                for name in processes if number % 2 == 0 else reversed(processes):
                    found[name].append(processes[name].order(work))
    return {
        work: {
            "milliseconds": {name: round(statistics.median(values), 3) for name, values in found.items()},
            "faster_than_default": {
                name: paired_ratio(found[DEFAULT], values) for name, values in found.items() if name != DEFAULT
            },
        }
        for work, found in times.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2], help="busy processes beside")
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    file: Path = RESULTS / f"{NAME}.json"
    beside: dict[str, Any] = json.loads(file.read_text())["beside"] if file.exists() else {}
    opened: dict[str, Process] = {}
    with contextlib.ExitStack() as stack:
        for name, setting in SETTINGS.items():  # one after the other: the settings are in the environment
            (opened[name],) = stack.enter_context(closing([started(setting, threads)]))
        for neighbours in given.neighbours:
            beside[f"{neighbours} busy processes"] = measure(opened, neighbours, given.rounds)
    publish(
        NAME,
        {
            "what": "milliseconds a step beside busy single-threaded processes, by setting of the OpenMP runtime",
            "training": f"resnet20, recipe joint, batch {BATCH}, bfloat16 autocast, channels_last",
            "inference": f"resnet20, batch {SMALL_BATCH}, float32, channels_last",
            "beside": beside,
        },
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(sys.argv[1:])
