"""How waiting OpenMP threads slow torch down beside other busy processes, and what shorter waits cost alone.

    python benchmarks/contention.py [--neighbours 0 1 2] [--rounds 2] [--renew]

Each setting runs in a process of its own; all take turns of half a second, in alternating order, beside so many
single-threaded processes that never rest. Rounds are added to those that are in the file, so that a busy machine can be
measured in its quiet minutes; --renew begins anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
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

Times = dict[str, dict[str, list[float]]]  # milliseconds a step, by work and setting


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
    messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
    handle = subprocess.Popen(
        [sys.executable, __file__, "serve"], env={**kept, "OMP_NUM_THREADS": str(threads), **setting},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, text=True,
    )  # fmt: skip
    return Process("", handle, messages)


def measure(processes: dict[str, Process], neighbours: int, rounds: int, times: Times) -> None:
    """Add the milliseconds a step of each setting beside so many busy processes, one a round."""
    with contextlib.ExitStack() as stack:
        for _ in range(neighbours):
            stack.enter_context(busy_neighbour())
        for _ in range(rounds):
            for work in WORK:
                each = times.setdefault(work, {name: [] for name in processes})
                for name in processes if len(each[DEFAULT]) % 2 == 0 else reversed(processes):
                    each[name].append(round(processes[name].order(work), 3))


def found(times: Times) -> dict[str, Any]:
    """Medians, and how many times as fast as the default each setting is."""
    return {
        work: {
            "milliseconds": {name: statistics.median(values) for name, values in each.items()},
            "faster_than_default": {
                name: paired_ratio(each[DEFAULT], values) for name, values in each.items() if name != DEFAULT
            },
            "rounds": each,
        }
        for work, each in times.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2], help="busy processes beside")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--renew", action="store_true", help="forget what is in the file")
    given = parser.parse_args(arguments)
    file: Path = RESULTS / f"{NAME}.json"
    earlier: dict[str, Any] = json.loads(file.read_text())["beside"] if file.exists() and not given.renew else {}
    beside: dict[str, Times] = {
        condition: {work: one["rounds"] for work, one in works.items()} for condition, works in earlier.items()
    }
    processes = [started(setting, torch.get_num_threads()) for setting in SETTINGS.values()]
    with closing(processes):
        for neighbours in given.neighbours:
            times = beside.setdefault(f"{neighbours} busy processes", {})
            measure(dict(zip(SETTINGS, processes, strict=True)), neighbours, given.rounds, times)
    publish(
        NAME,
        {
            "what": "milliseconds a step beside busy single-threaded processes, by setting of the OpenMP runtime",
            "training": f"resnet20, recipe joint, batch {BATCH}, bfloat16 autocast, channels_last",
            "inference": f"resnet20, batch {SMALL_BATCH}, float32, channels_last",
            "beside": {condition: found(times) for condition, times in sorted(beside.items())},
        },
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(sys.argv[1:])
