"""Screen training options on resnet20 and 10,000 CIFAR-10 images: accuracy at budgets, on images no choice may spoil.

    python benchmarks/screening.py DATA OUT.json [--seeds 3] [--epochs 8] [--only NAME ...]

DATA is the folder of CIFAR-10 as Parquet files. 10,000 of its training images are trained on (a tenth of them held out
for calibration), 10,000 others stand in for a test split; the test images are not touched. Every run is added to
OUT.json when it is done, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

TRAIN, HELD_OUT = 10_000, 10_000  # images
BUDGETS = (0.25, 0.5, 0.75)
OPTIONS: dict[str, list[str]] = {
    "backbone": ["--recipe", "backbone"],
    "joint": ["--recipe", "joint"],
    "joint, equilibrium": ["--recipe", "joint", "--equilibrium"],
    "joint, equilibrium, rate .2": ["--recipe", "joint", "--equilibrium", "--learning-rate", "0.2"],
    "joint, distillation": ["--recipe", "joint", "--distillation", "0.5"],
    "mixed": ["--recipe", "mixed"],
    "mixed, equilibrium": ["--recipe", "mixed", "--equilibrium"],
    "mixed, equilibrium, distillation": ["--recipe", "mixed", "--equilibrium", "--distillation", "0.5"],
    "joint, conv heads": ["--recipe", "joint", "--conv-heads", "3"],
}


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command."""
    command = [sys.executable, "-m", "shallowdeep", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def subset(data: Path, folder: Path) -> None:
    """Write the images to train on and those to judge on, both from the training part."""
    table = pq.read_table(next(data.rglob("train-*.parquet")))
    order = np.random.default_rng(0).permutation(len(table))
    folder.mkdir(parents=True)
    for name, rows in (("train", order[:TRAIN]), ("test", order[TRAIN : TRAIN + HELD_OUT])):
        pq.write_table(table.take(np.sort(rows)), folder / f"{name}-00000-of-00001.parquet")


def judged(run: Path) -> dict[str, Any]:
    """Accuracy of every exit, and what a policy for each budget gives, both on the images held out."""
    exits = shallowdeep("evaluate", str(run))["exits"]
    found: dict[str, Any] = {"exits": [round(exit_["accuracy"], 4) for exit_ in exits]}
    if len(exits) > 1:
        for budget in BUDGETS:
            block = shallowdeep("calibrate", str(run), "--budget", str(budget))["test"]
            found[f"at {budget}"] = [round(block["accuracy"], 4), round(block["relative_cost"], 4)]
    return found


def main() -> None:
    """Train and judge what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=OPTIONS, default=list(OPTIONS))
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(result["option"], result["seed"], result["epochs"]) for result in results}
    with tempfile.TemporaryDirectory() as directory:
        subset(arguments.data, Path(directory, "cifar10"))
        for seed in range(arguments.seeds):
            for name in arguments.only:
                if (name, seed, arguments.epochs) in done:
                    continue
                run = Path(directory, "run")
                common = ["--data", str(Path(directory, "cifar10")), "--model", "resnet20", "--out", str(run)]
                trained = shallowdeep(
                    "train", *common, *OPTIONS[name], "--epochs", str(arguments.epochs), "--seed", str(seed)
                )
                result = {"option": name, "seed": seed, "epochs": arguments.epochs, "seconds": trained["seconds"]}
                results.append({**result, **judged(run)})
                arguments.out.write_text(json.dumps(results, indent=1) + "\n")
                print(json.dumps(results[-1]), flush=True)
                shutil.rmtree(run)


if __name__ == "__main__":
    main()
