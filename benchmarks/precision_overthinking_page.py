"""The page results/overthinking/precision.md from the file of `benchmarks/precision_overthinking.py`, in Markdown.

python benchmarks/precision_overthinking_page.py results/overthinking/precision.json > results/overthinking/precision.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOWER = ("bf16", "int8")
SHARES = (  # what `precision_overthinking` compares, as the table names it
    ("right at the final exit", "final exit right, %"),
    ("right by the policy", "policy right, %"),
    ("some exit right", "some exit right, %"),
    ("wasteful", "wasteful: right before the last exit, %"),
    ("destructive", "right early, wrong at the end, %"),
    ("relative cost", "mean cost of the policy, % of the backbone"),
)
RESCUES = (
    ("of those broken at the final exit", "right by the policy", "of those that this breaks at the end: policy right"),
    ("of those broken at the final exit", "right at some exit before", "... some earlier exit right"),
    ("of those wrong at the final exit in both", "right by the policy", "of those wrong at the end in both, likewise"),
)  # fmt: skip


HEADER = """# Overthinking at lower precision

By `python benchmarks/precision_overthinking.py results/overthinking/precision.json {runs}`,
in OpenVINO (int8: NNCF), {cpu} with {cores} cores, {date}. Each run's policy (`calibrate RUN --max-accuracy-loss 0.01
--no-plan`, in float32) is applied as it is at every precision; test split. Differences are paired by image, with 95 %
bootstrap intervals over images ({resamples:,} resamples); shares of some images have exact binomial intervals.
What follows from it: docs/concepts/precision.md.
"""


def percent(value: float) -> str:
    """A share as points."""
    return f"{100 * value:.2f}"


def plain_number(value: float) -> str:
    """A value as it is."""
    return f"{value:.3f}"


def difference(cell: dict[str, Any], shown: Callable[[float], str]) -> str:
    """A difference and its interval."""
    low, high = cell["interval"]
    signed = ["+" * (value > 0) + shown(value) for value in (cell["mean"], low, high)]
    return f"{signed[0]} ({signed[1]} to {signed[2]})"


def share(cell: dict[str, Any]) -> str:
    """A share of some images and its interval, in percent."""
    if cell["mean"] is None:
        return "no such image"
    low, high = cell["interval"]
    return f"{100 * cell['mean']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {cell['images']:,}"


def rows(found: dict[str, Any]) -> list[str]:
    """The table of one run."""
    precisions = found["precisions"]
    base = precisions["f32"]
    lines = ["| test split | float32 | bf16 - float32 | int8 - float32 |", "|---|---|---|---|"]
    named = [*((*pair, percent) for pair in SHARES), ("confusion", "mean confusion, z-score", plain_number)]
    named.append(("mean exit of the policy", "mean exit that the policy takes", plain_number))
    for what, name, shown in named:
        cells = [difference(precisions[lower][what]["minus f32"], shown) for lower in LOWER]
        lines.append(f"| {name} | {shown(base[what]['mean'])} | {' | '.join(cells)} |")
    for what in ("another exit than in f32", "another final answer than in f32"):
        cells = [share(precisions[lower][what]) for lower in LOWER]
        lines.append(f"| {what.replace('f32', 'float32')} | | {' | '.join(cells)} |")
    for group, what, name in RESCUES:
        cells = [share(precisions[lower][group][what]) for lower in LOWER]
        lines.append(f"| {name} | | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the page."""
    document: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    machine, runs = document["machine"], " ".join(f"runs/{name}" for name in document["runs"])
    facts = {key: machine[key] for key in ("cpu", "cores", "date")}
    print(HEADER.format(runs=runs, resamples=document["resamples"], **facts))
    for name, found in document["runs"].items():
        thresholds = ", ".join("off" if value is None else f"{value:.3f}" for value in found["policy"])
        print(f"## {name}\n\n{found['images']:,} images; thresholds of the policy: {thresholds}.\n")
        print("\n".join(rows(found)), end="\n\n")


if __name__ == "__main__":
    main()
