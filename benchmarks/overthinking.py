"""From trained runs to results/overthinking: all findings beside the paper's claims, pages and figures, by commands.

python benchmarks/overthinking.py results/overthinking RUN [RUN ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shallowdeep.analysis.error_detection import detection
from shallowdeep.analysis.error_indicators import max_softmax
from shallowdeep.exits.confusion import distances
from shallowdeep.exits.predictions import ExitPredictions

INDICATOR_FIGURES = ("auroc", "fpr95", "aurc", "augrc")
AGREES = {True: "agrees", False: "**does not agree**", None: "cannot be said"}


def findings(run: Path, out: Path) -> dict[str, Any]:
    """The ``analyze`` document of a run; its page and figures are written to ``out``."""
    program = [sys.executable, "-m", "shallowdeep"]
    page = [*program, "report", str(run), "--out", str(out / f"{run.name}.html")]
    subprocess.run(page, stdout=subprocess.DEVNULL, check=True)
    analyzed = subprocess.run([*program, "analyze", str(run), "--json"], stdout=subprocess.PIPE, check=True)
    document: dict[str, Any] = json.loads(analyzed.stdout)
    return document


def percent(value: float | None, bounds: Sequence[float] | None = None) -> str:
    """A fraction in per cent with its interval."""
    if value is None:
        return ""
    between = "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"
    return f"{100 * value:.1f}{between}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def overview(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every run's figures side by side."""
    rows: list[list[str]] = []

    def row(what: str, values: Sequence[str]) -> None:
        rows.append([what, *values])

    def block(name: str, key: str) -> list[str]:
        return [percent(d[name][key], d[name]["intervals"].get(key)) for d in documents.values()]

    row("final exit right, %", [percent(d["exits"][-1]["accuracy"]) for d in documents.values()])
    row("wasteful: right before the last exit, %", block("wasteful", "share"))
    row("... and at the end, %", block("wasteful", "and_final_right"))
    row("oracle cost, % of the backbone", block("wasteful", "oracle_cost"))
    row("oracle accuracy, %", block("wasteful", "oracle_accuracy"))
    row("destructive: share of errors right earlier, %", block("destructive", "share_of_errors"))
    row("... by chance, each exit's answers shuffled, %", block("destructive", "chance"))
    row("... by chance, whole trajectories shuffled, %", block("destructive", "chance_together"))
    row("an ideal stopping rule would add, points", block("destructive", "accuracy_gain"))
    for kind in ("stable", "wrong_to_right", "right_to_wrong", "flickering"):
        row(f"trajectories {kind.replace('_', ' ')}, %", [percent(d["trajectories"][kind]) for d in documents.values()])
    for kind in ("right_mean", "wrong_mean"):
        row(
            f"confusion, {kind.replace('_', ' ')} (z-score)",
            [f"{d['confusion'][kind]:+.2f}" for d in documents.values()],
        )
    rule = [d["answer_rule"] for d in documents.values()]
    gains = [
        f"{100 * r['gain']:+.2f} ({100 * r['intervals']['gain'][0]:+.2f} to {100 * r['intervals']['gain'][1]:+.2f})"
        for r in rule
    ]
    row("answer rule chosen on tune, points gained", gains)
    row("... the rule", [r["rule"] for r in rule])
    return table(["test split", *documents], rows)


def indicators(document: Mapping[str, Any]) -> list[str]:
    """A run's error indicators, the best AUROC first."""
    ordered = sorted(document["error_indicators"].items(), key=lambda item: -float(item[1]["auroc"]))
    rows = []
    for name, values in ordered:
        low, high = values["intervals"]["auroc"]
        rest = [percent(values[figure], values["intervals"][figure]) for figure in INDICATOR_FIGURES[1:]]
        rows.append([name, f"{values['auroc']:.3f} ({low:.3f} to {high:.3f})", *rest])
    return table(["indicator", "AUROC", "FPR at 95 % TPR, %", "AURC, %", "AUGRC, %"], rows)


def claims(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The paper's claims beside what was measured."""
    rows = [
        [claim["claim"], claim["paper"], f"`{name}`", claim["measured"], AGREES[claim["agrees"]]]
        for place in range(len(next(iter(documents.values()))["paper"]))
        for name, document in documents.items()
        for claim in [document["paper"][place]]
    ]
    return table(["claim", "paper", "run", "here", ""], rows)


def later_confusion(runs: Sequence[Path]) -> list[str]:
    """AUROC of confusion that counts the exits from each one on: which exits spoil it."""
    rows = []
    for run in runs:
        for split in ("tune", "test"):
            pred = ExitPredictions.load(run / "predictions" / f"{split}.npz")
            errors = pred.logits[-1].argmax(-1) != pred.labels
            apart = distances(pred.logits, pred.exits - 1)  # (E-1, N)
            levels = [detection(apart[k:].sum(axis=0), errors).auroc for k in range(pred.exits - 1)]
            softmax = detection(max_softmax(pred.logits), errors).auroc
            rows.append([f"`{run.name}`, {split}", *(f"{level:.3f}" for level in levels), f"{softmax:.3f}"])
    exits = len(rows[0]) - 2
    return table(["exits counted", *(f"{k} on" for k in range(exits)), "max softmax"], rows)


def main() -> None:
    """Analyse the runs and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    documents = {run.name: findings(run, arguments.out) for run in arguments.runs}
    first = next(iter(documents.values()))
    origin = first["provenance"]
    about = (
        f"{first['samples']:,} test images of {first['dataset']}; what is fitted is fitted on `tune`; 95 % bootstrap "
        f"intervals over samples, {origin['resamples']:,} resamples. {origin['machine']}, {origin['date']}. Each claim "
        "names the rule by which it is said to agree; these rules are ours. "
        "docs/concepts/overthinking.md explains every figure."
    )
    lines = ["# How these networks overthink", "", about, "", "## The paper's claims", "", *claims(documents)]
    lines += ["## All figures", "", *overview(documents)]
    which = "AUROC of confusion that counts the earlier exits from exit k on; from 0 on is the paper's."
    lines += ["## Which exits confusion counts", "", which, "", *later_confusion(arguments.runs)]
    for name, document in documents.items():
        lines += [f"## `{name}`: what tells errors", "", *indicators(document)]
        lines += [f"![{figure}]({name}-{figure}.png)" for figure in ("overthinking", "confusion", "error-indicators")]
        lines += ["", f"The page: [{name}.html]({name}.html), to be downloaded and opened.", ""]
    command = " ".join(["python benchmarks/overthinking.py", str(arguments.out), *map(str, arguments.runs)])
    (arguments.out / "README.md").write_text("\n".join([*lines, f"    {command}"]) + "\n")


if __name__ == "__main__":
    main()
