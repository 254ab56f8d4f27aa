"""How long one waits before anything happens: `shallowdeep --help`, and converting a network.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time

import torch
from paired import alternate, publish

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


def main() -> None:
    """Measure and publish."""
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
