"""Accuracy at budgets of finished runs: policies chosen on `tune`, as `calibrate --budget` does, shown on test.

    python benchmarks/budget_table.py RUN [RUN ...]

Every RUN was evaluated (`shallowdeep evaluate RUN`), so that its predictions are there. Prints a table for each signal;
the realised test cost stands in brackets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from budgets import BUDGETS, SIGNALS, at_budgets

from shallowdeep.exits.predictions import ExitPredictions


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    rows: dict[str, list[str]] = {signal: [] for signal in SIGNALS}
    for run in parser.parse_args().runs:
        tune, test = (ExitPredictions.load(run / "predictions" / f"{name}.npz") for name in ("tune", "test"))
        right = test.logits.argmax(-1) == test.labels  # (E, N)
        exits = " ".join(f"{100 * share:.1f}" for share in right.mean(axis=1))
        found = at_budgets(tune, test) if test.exits > 1 else {}
        for signal in SIGNALS:
            cells = ["-"] * len(BUDGETS)
            if found:
                pairs = [found[f"{signal} at {budget}"] for budget in BUDGETS]
                cells = [f"{100 * accuracy:.1f} ({cost:.3f})" for accuracy, cost in pairs]
            rows[signal].append(f"| {run.name} | {exits} | {' | '.join(cells)} |")
    for signal, lines in rows.items():
        print(f"\nSignal `{signal}`:\n")
        print(f"| run | exits, % | {' | '.join(f'≤ {100 * budget:.0f} % (cost)' for budget in BUDGETS)} |")
        print(f"|---|---|{'---|' * len(BUDGETS)}")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
