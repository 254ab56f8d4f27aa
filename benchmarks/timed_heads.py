"""What exits by time cost in accuracy: `best` with its deep heads, with timed heads, and placed by time too.

    python benchmarks/timed_heads.py results/benchmarks/timed-heads.json --data ../shared/data/cifar10 \
        --model resnet56 --epochs 12 --seeds 0 --time-on openvino:int8

Accuracies are those of each exit on `tune` after the last epoch. Runs that --keep DIR holds already go on or are read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from shallowdeep.checkpoint import read_manifest
from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.runs.placement import read_placement

ARMS = {
    "deep heads, by MACs": (),
    "timed heads, by MACs": ("--timed-heads",),
    "timed heads, by time": ("--timed-heads", "--place-by", "time"),
}


def trained(run: Path, options: list[str]) -> dict[str, Any]:
    """One arm with one seed: where its exits stand, what they take, and their accuracies."""
    command = [sys.executable, "-m", "shallowdeep", "train", *options, "--resume", "--out", str(run), "--json"]
    done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    placement = read_placement(run)
    shares = {} if placement is None else {(head.cut, head.head): head.time for head in placement.candidates}
    return {
        "exits": [
            {
                "name": exit_.name, "head": exit_.head, "depth": exit_.depth,
                "time_of_head": shares.get((exit_.cut, exit_.head)), "relative_cost": told["relative_cost"],
                "tune_accuracy": told["tune_accuracy"],
            }
            for exit_, told in zip(read_manifest(run).exits, done["exits"], strict=True)
        ],
    }  # fmt: skip


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--epochs", default="12")
    parser.add_argument("--batch-size", default="128")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--time-on", default="openvino:int8")
    parser.add_argument("--keep", type=Path, default=Path("runs/timed-heads"))
    given = parser.parse_args()
    base = ["--data", given.data, "--model", given.model, "--recipe", "best"]
    base += ["--epochs", given.epochs, "--batch-size", given.batch_size]
    settings = {key: str(value) for key, value in vars(given).items() if key not in {"out", "keep"}}
    found: dict[str, dict[str, Any]] = {}
    for seed in given.seeds.split(","):
        for name, options in ARMS.items():
            run = given.keep / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            timed = ["--time-on", given.time_on] if options else []
            found.setdefault(name, {})[seed] = trained(run, [*base, "--seed", seed, *options, *timed])
            write_json(
                given.out,
                {"machine": plain(this_machine(available_cores())), "settings": settings, "arms": found},
            )


if __name__ == "__main__":
    main()
