"""All pages of benchmarks/speed.py in one table: what was hoped for, what was reached, misses in bold.

python benchmarks/speed_goals.py results/speed
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OF_IDEAL = {1: 0.75, 8: 0.8, 64: 0.9, 256: 0.9}  # at least, by batch size
SLOWER = {1: 0.35, 64: 0.12}  # at most, none taken
OUTSIDE, MEMORY = 0.03, 1.2  # less than, at batch 64; at most
COLUMNS = ("of ideal at 1", "8", "64", "256", "slower at 1, %", "at 64, %", "outside at 64, %", "memory")


def cell(text: str, *, reached: bool) -> str:
    """A figure, bold where its goal is missed."""
    return text if reached else f"**{text}**"


def row(name: str, bench: dict[str, Any]) -> list[str]:
    """One bench's figures."""
    at = {batch["batch_size"]: batch for batch in bench["batches"]}
    taken = not name.endswith("none-taken")
    ideals = [cell(f"{at[n]['of_ideal']:.3f}", reached=at[n]["of_ideal"] >= goal) for n, goal in OF_IDEAL.items()]
    lost = {n: 1 / at[n]["speedup"]["median"] - 1 for n in SLOWER}
    slower = [cell(f"{100 * lost[n]:.1f}", reached=lost[n] <= goal) for n, goal in SLOWER.items()]
    outside, memory = at[64]["overhead_share"], bench["peak_memory"]["ratio"]
    figures = [*ideals, "", ""] if taken else ["", "", "", "", *slower]
    last = [cell(f"{100 * outside:.2f}", reached=outside < OUTSIDE), cell(f"{memory:.2f}", reached=memory <= MEMORY)]
    return [name, *figures, *last]


def main() -> None:
    """Print the table."""
    root = Path(sys.argv[1])
    goals = [f"≥ {goal}" for goal in OF_IDEAL.values()] + [f"≤ {100 * goal:.0f}" for goal in SLOWER.values()]
    lines = [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1), ["goal", *goals, f"< {100 * OUTSIDE:.0f}", f"≤ {MEMORY}"]]
    lines += [
        row(f"{file.parent.parent.name} {file.parent.name}", json.loads(file.read_text()))
        for file in sorted(root.glob("*/*/bench.json"))
    ]
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
