"""The best exits for given weights in ten minutes: heads and ensembles on a frozen backbone, against plain `ic-only`.

    python benchmarks/frozen_view.py BACKBONE_RUN OUT.json [--only NAME ...]
    python benchmarks/frozen_view.py --table OUT.json

BACKBONE_RUN is a finished run of the recipe `backbone`; its weights stay as they are, bit for bit. Each one is
one `train --recipe ic-only --init BACKBONE_RUN ...`; seconds are of the whole command, caching included. Policies are
chosen on `tune` and shown on test, by the signal `max-probability` (with temperatures) and by a fitted `ensemble`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from budgets import BUDGETS, SIGNALS, at_budgets, document
from paired import machine

from shallowdeep.analysis.evaluation import evaluation_from
from shallowdeep.artifacts import CONFIG
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json
from shallowdeep.runs.config import read_config

VARIANTS: dict[str, tuple[str, ...]] = {
    "ic-only": (),
    "cascade": ("--cascade",),
    "conv heads": ("--conv-heads", "6", "--epochs", "6"),
    "deep heads": ("--deep-heads", "6", "--epochs", "6"),
    "deep heads, cascade": ("--deep-heads", "6", "--epochs", "9", "--cascade"),
}


def evaluated(run: Path) -> dict[str, Any]:
    """Accuracy of every exit on test, and what policies chosen on `tune` give there."""
    evaluation = evaluation_from(document("evaluate", str(run)))
    tune, test = (ExitPredictions.load(run / "predictions" / f"{name}.npz") for name in ("tune", "test"))
    accuracies = [round(accuracy, 4) for accuracy in evaluation.accuracies]
    costs = [round(exit_.relative_cost, 4) for exit_ in evaluation.exits]
    return {"exits": accuracies, "relative_costs": costs, **at_budgets(tune, test)}


def table(found: dict[str, Any]) -> str:
    """Test accuracies of each, and what they took."""
    columns = [(signal, budget) for signal in SIGNALS for budget in BUDGETS]
    heading = " | ".join(f"{signal} ≤ {100 * budget:.0f} %" for signal, budget in columns)
    lines = [f"| heads | seconds | exits, % | {heading} |", f"|---|---|---|{'---|' * len(columns)}"]
    for name, one in found.items():
        if name != "machine":
            exits = " ".join(f"{100 * share:.1f}" for share in one["exits"])
            cells = " | ".join(f"{100 * one[f'{signal} at {budget}'][0]:.1f}" for signal, budget in columns)
            options = f" (`{' '.join(one['options'])}`)" if one["options"] else ""
            lines.append(f"| {name}{options} | {one['seconds']} | {exits} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """train, evaluate and write, or print the table of what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", type=Path, nargs="?", help="a run, or with --table nothing but OUT.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.out.read_text())))
        return
    if arguments.backbone is None:
        parser.error("Expected BACKBONE_RUN and OUT.json, got one of them")
    config = read_config(arguments.backbone / CONFIG)
    found: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    with tempfile.TemporaryDirectory() as directory:
        for name in arguments.only:
            run = Path(directory, name)
            started = time.perf_counter()
            document(
                "train", "--recipe", "ic-only", "--init", str(arguments.backbone), "--data", config.data,
                "--seed", str(config.seed), "--out", str(run), *VARIANTS[name],
            )  # fmt: skip
            seconds = time.perf_counter() - started
            found[name] = {"options": list(VARIANTS[name]), "seconds": round(seconds), **evaluated(run)}
            found["machine"] = machine()
            write_json(arguments.out, found)
            print(name, json.dumps(found[name]), flush=True)


if __name__ == "__main__":
    main()
