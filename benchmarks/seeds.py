"""The recipes of a network over seeds: accuracy at budgets, as `calibrate --budget` picks policies on `tune`, on test.

    python benchmarks/seeds.py DATA OUT.json [--model resnet56] [--epochs 12] [--seeds 0 1 2] [--workers 1] [--only ...]
    python benchmarks/seeds.py --add NAME=RUN [...] OUT.json
    python benchmarks/seeds.py --table OUT.json

`best` gets 11 epochs for every 12 of the others: 1.07 of their multiply-adds a pass. Workers train side by side, with
one thread each. Every run is added to OUT.json when it is done, so that the command goes on where it was stopped; --add
takes in runs that were trained and evaluated before.
--table prints means over seeds, and differences from `best` over the seeds that both have, with standard errors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from budgets import at_budgets, columns, difference, document

from shallowdeep.artifacts import CONFIG
from shallowdeep.checkpoint import read_manifest
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json
from shallowdeep.machine import this_machine
from shallowdeep.runs.config import read_config
from shallowdeep.training.history import read_history

BACKBONE, IC_ONLY, BEST = "backbone", "ic-only", "best"
RECIPES: dict[str, tuple[str, ...]] = {
    BACKBONE: ("--recipe", "backbone"),
    IC_ONLY: ("--recipe", "ic-only"),  # on the backbone of the same seed
    "joint, SGD": ("--recipe", "joint", "--optimizer", "sgd", "--augmentation", "cifar"),  # the paper's
    "joint": ("--recipe", "joint"),
    BEST: ("--recipe", "best"),
    "best + cascade": ("--recipe", "best", "--cascade"),
}
OF_BEST = 11 / 12  # of the others' epochs
Results = list[dict[str, Any]]


def evaluated(run: Path) -> dict[str, Any]:
    """Test accuracy of every exit of an evaluated run, and of policies for budgets with their costs, by each signal."""
    tune, test = (ExitPredictions.load(run / "predictions" / f"{name}.npz") for name in ("tune", "test"))
    right = (test.logits.argmax(-1) == test.labels).mean(axis=1)
    found: dict[str, Any] = {"exits": [round(float(share), 4) for share in right]}
    return found | (at_budgets(tune, test) if test.exits > 1 else {})


def hardware() -> str:
    """What trains here."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    here = this_machine(1)
    return f"{here.cpu}, {here.cores} cores"


def added(name: str, run: Path, epochs: int) -> dict[str, Any]:
    """The result of a run that was trained and evaluated here before; ``epochs`` as for this command."""
    config, history = read_config(run / CONFIG), read_history(run)
    return {
        "run": name, "seed": config.seed, "epochs": epochs, "model": read_manifest(run).model.name,
        "hardware": hardware(), "trained_epochs": len(history),
        "seconds": round(sum(record.seconds for record in history), 1), **evaluated(run),
    }  # fmt: skip


def train_and_evaluate(arguments: argparse.Namespace) -> None:
    """Train and evaluate what is not in the file yet."""
    results: Results = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(result["run"], result["seed"], result["epochs"]) for result in results}
    lock = threading.Lock()

    def run_one(name: str, seed: int, run: Path, *more: str) -> None:
        wanted = max(1, round(arguments.epochs * (OF_BEST if name.startswith(BEST) else 1)))
        epochs = () if name == IC_ONLY else ("--epochs", str(wanted))
        source = () if name == IC_ONLY else ("--model", arguments.model)
        trained = document(
            "train", "--data", str(arguments.data), *source, "--out", str(run), *RECIPES[name], *epochs, *more,
            "--seed", str(seed), threads=1,
        )  # fmt: skip
        document("evaluate", str(run), threads=1)
        result = {
            "run": name, "seed": seed, "epochs": arguments.epochs, "model": arguments.model, "hardware": hardware(),
            "trained_epochs": trained["epochs"], "seconds": round(trained["seconds"], 1), **evaluated(run),
        }  # fmt: skip
        with lock:
            results.append(result)
            write_json(arguments.out, results)
            print(json.dumps(result), flush=True)

    def job(names: list[str], seed: int, folder: Path) -> None:
        for name in names:
            init = ("--init", str(folder / BACKBONE)) if name == IC_ONLY else ()
            run_one(name, seed, folder / name.replace(", ", "-").replace(" ", ""), *init)

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(arguments.workers) as workers:
        jobs = []
        for seed in arguments.seeds:
            missing = [name for name in arguments.only if (name, seed, arguments.epochs) not in done]
            pair = [BACKBONE, IC_ONLY] if IC_ONLY in missing else []
            chains = [pair] * bool(pair) + [[name] for name in missing if name not in pair]
            jobs += [workers.submit(job, names, seed, Path(directory, str(seed))) for names in chains]
        failures = [failure for one in jobs if (failure := one.exception()) is not None]
    if failures:
        sys.exit(f"Expected every run to succeed, {len(failures)} did not; the first: {failures[0]}")


def table(results: Results) -> str:
    """Means over seeds, and differences from `best` over the seeds that both have, with standard errors."""
    runs = {(result["run"], result["seed"]): columns(result) for result in results}
    names = list(columns(next(result for result in results if result["run"] == BEST)))
    lines = [f"| run | seeds | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for run in dict.fromkeys(result["run"] for result in results):
        mine = {seed: shown for (name, seed), shown in runs.items() if name == run}
        cells = []
        for name in names:
            values = [shown[name] for shown in mine.values() if name in shown]
            reference = "final exit" if run == BACKBONE else name  # a backbone stands against every budget
            cell = f"{statistics.mean(values):.1f}" if values else "-"
            apart = [
                runs[BEST, seed][name] - shown[reference]
                for seed, shown in mine.items()
                if reference in shown and (BEST, seed) in runs
            ]
            if run != BEST and apart:
                cell += f" ({difference(apart)})"
            cells.append(cell)
        lines.append(f"| {run} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train and evaluate, or print the table of what was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the dataset, or with --table nothing but OUT.json", nargs="?")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--add", nargs="+", default=[], metavar="NAME=RUN")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.add:
        known = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
        pairs = [text.split("=", 1) for text in arguments.add]
        write_json(arguments.out, known + [added(name, Path(run), arguments.epochs) for name, run in pairs])
    elif arguments.table:
        print(table(json.loads(arguments.out.read_text())))
    else:
        train_and_evaluate(arguments)


if __name__ == "__main__":
    main()
