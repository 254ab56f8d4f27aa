"""Screen training options on resnet20 and 10,000 CIFAR-10 images: accuracy at budgets, on images no choice may spoil.

    python benchmarks/screening.py DATA OUT.json [--seeds 3] [--epochs 8] [--workers 2] [--only NAME ...]
    python benchmarks/screening.py --table OUT.json

DATA is the folder of CIFAR-10 as Parquet files. 10,000 of its training images are trained on (a tenth of them held out
for calibration), 10,000 others stand in for a test split: policies for budgets are chosen on 2,000 of these as
`calibrate --budget` does, and shown on the other 8,000. The test images are not touched. Workers train side by side,
with one thread each. Every run is added to OUT.json when it is done, so that the command goes on where it was stopped;
--table prints means over seeds, and differences from `joint` and `best` with their standard errors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from budgets import at_budgets, columns, difference, document

from shallowdeep.analysis.evaluation import evaluation_from
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json

TRAIN, HELD_OUT, CHOSEN_ON = 10_000, 10_000, 2_000  # images
BEST, JOINT = ("--recipe", "best"), ("--recipe", "joint")
SGD, CROP = ("--optimizer", "sgd"), ("--augmentation", "cifar")  # what `short` does otherwise
DEEP, WEIGHT = ("--deep-heads", "6"), ("--exit-weight", "0.5")
PAPERS = (*JOINT, *SGD, *CROP)  # the paper's loss and heads, on one cycle
OPTIONS: dict[str, tuple[str, ...]] = {
    "joint": PAPERS,
    "best": BEST,
    "best - Muon": (*BEST, *SGD),
    "best - light crop": (*BEST, *CROP),
    "best - deep heads": (*JOINT, *WEIGHT),
    "best - exit weight .5": (*JOINT, *DEEP),
    "joint + Muon": (*JOINT, *CROP),
    "joint + light crop": (*JOINT, *SGD),
    "joint + deep heads": (*PAPERS, *DEEP),
    "joint + exit weight .5": (*PAPERS, *WEIGHT),
    "joint + conv heads": (*PAPERS, "--conv-heads", "6"),
    "joint + cascade": (*PAPERS, "--cascade"),
    "joint + equilibrium": (*PAPERS, "--equilibrium"),
    "joint + distillation": (*PAPERS, "--distillation", "0.5"),
    "joint, mixed": ("--recipe", "mixed", *SGD, *CROP),
    "backbone": ("--recipe", "backbone", *SGD, *CROP),
    "backbone + Muon, light crop": ("--recipe", "backbone"),
    "best + cascade": (*BEST, "--cascade"),
    "best + equilibrium": (*BEST, "--equilibrium"),
    "best + distillation": (*BEST, "--distillation", "0.5"),
    "best, mixed": ("--recipe", "mixed", *DEEP, *WEIGHT),
}
Results = list[dict[str, Any]]


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command that runs with one thread."""
    return document(*arguments, threads=1)


def subset(data: Path, folder: Path) -> None:
    """Write the images to train on and those to evaluate on, both from the training part."""
    table = pq.read_table(next(data.rglob("train-*.parquet")))
    order = np.random.default_rng(0).permutation(len(table))
    folder.mkdir(parents=True)
    for name, rows in (("train", order[:TRAIN]), ("test", order[TRAIN : TRAIN + HELD_OUT])):
        pq.write_table(table.take(np.sort(rows)), folder / f"{name}-00000-of-00001.parquet")


def evaluated(run: Path) -> dict[str, Any]:
    """Accuracy of every exit, and accuracy and cost of the policy for each budget, by each signal."""
    accuracies = evaluation_from(shallowdeep("evaluate", str(run))).accuracies
    found: dict[str, Any] = {"exits": [round(accuracy, 4) for accuracy in accuracies]}
    if len(accuracies) == 1:
        return found
    held_out = ExitPredictions.load(run / "predictions" / "test.npz")
    chosen_on, shown = (
        ExitPredictions(held_out.logits[:, rows], held_out.labels[rows], held_out.costs)
        for rows in (slice(CHOSEN_ON), slice(CHOSEN_ON, None))
    )
    found |= at_budgets(chosen_on, shown)
    return found


def screen(arguments: argparse.Namespace) -> None:
    """Train and evaluate what is not in the file yet."""
    results: Results = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(*result["options"], result["seed"], result["epochs"]) for result in results}
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(arguments.workers) as workers:
        data = Path(directory, "cifar10")
        subset(arguments.data, data)

        def run_one(name: str, seed: int) -> None:
            run = Path(directory, f"{name}-{seed}")
            trained = shallowdeep(
                "train", "--data", str(data), "--model", "resnet20", "--out", str(run), *OPTIONS[name],
                "--epochs", str(arguments.epochs), "--seed", str(seed),
            )  # fmt: skip
            result = {
                "option": name, "options": OPTIONS[name], "seed": seed, "epochs": arguments.epochs,
                "seconds": trained["seconds"],
            }  # fmt: skip
            result |= evaluated(run)
            with lock:
                results.append(result)
                write_json(arguments.out, results)
                print(json.dumps(result), flush=True)

        wanted = product(range(arguments.seeds), arguments.only)
        jobs = [
            workers.submit(run_one, name, seed)
            for seed, name in wanted
            if (*OPTIONS[name], seed, arguments.epochs) not in done
        ]
        for job in jobs:
            job.result()


def shown(result: dict[str, Any]) -> dict[str, float]:
    """What a table shows of a run, in per cent."""
    first = {"first exit": 100 * result["exits"][0]} if len(result["exits"]) > 1 else {}
    return first | columns(result)


def table(results: Results) -> str:
    """Means over seeds, and differences from `joint` and `best` over the seeds both have, with standard errors."""
    runs = {(result["option"], result["seed"]): shown(result) for result in results}
    names = list(shown(next(result for result in results if result["option"] == "joint")))
    lines = [f"| option | seeds | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for option in dict.fromkeys(result["option"] for result in results):
        mine = {seed: shown for (name, seed), shown in runs.items() if name == option}
        cells = []
        for name in names:
            values = [shown[name] for shown in mine.values() if name in shown]
            cell = f"{statistics.mean(values):.1f}" if values else "-"
            reference = "best" if option.startswith("best") else "joint"
            apart = [
                shown[name] - runs[reference, seed][name]
                for seed, shown in mine.items()
                if name in shown and (reference, seed) in runs
            ]
            if option != reference and len(apart) > 1:
                cell += f" ({difference(apart)})"
            cells.append(cell)
        lines.append(f"| {option} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Screen, or print the table of what was screened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the dataset, or with --table nothing but OUT.json", nargs="?")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.out.read_text())))
        return
    screen(arguments)


if __name__ == "__main__":
    main()
