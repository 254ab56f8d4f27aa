"""The table of results/speed from the files of `benchmarks/precisions.py`, in Markdown.

python benchmarks/precision_rows.py results/speed/*-precisions.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def rows(path: Path) -> list[str]:
    """One line a batch size: the best static network, the plan's engine, and what plan and ideal said."""
    found: dict[str, Any] = json.loads(path.read_text())
    plan = found["plan"]
    runtime = f"{plan['backend']} {plan['precision']}"
    predicted = {
        speed["batch_size"]: speed["speedup"] for speed in (plan["finalists"] or [{"speeds": []}])[0]["speeds"]
    }
    lines = []
    for batch in found["batches"]:
        name = f"engine {runtime}"
        ratio, static = batch["over_best_static"][name], batch["best_static"]
        milliseconds = batch["milliseconds"]
        expected = predicted.get(batch["batch_size"])
        told = "" if expected is None else f"{expected:.2f} ({100 * (expected / ratio['median'] - 1):+.0f} %)"
        ideal = batch["ideal"][runtime]
        exits = ", ".join(map(str, plan["exits"])) or "none"
        cells = (
            found["model"], batch["batch_size"],
            f"{static.removeprefix('static ')}, {milliseconds[static]:.2f} ms",
            f"{runtime}, exits {exits}, {milliseconds[name]:.2f} ms",
            f"**{ratio['median']:.2f}** [{ratio['low']:.2f}, {ratio['high']:.2f}]", told,
            f"{ratio['median'] / ideal:.2f}",
            f"{100 * found['accuracy'][static]:.1f}, {100 * found['accuracy'][name]:.1f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def main() -> None:
    """Print the table."""
    print(
        "| network | batch | fastest static, any precision | engine | times as fast | plan said | of ideal | "
        "right on test, %: static, engine |\n|---|---|---|---|---|---|---|---|"
    )
    for name in sys.argv[1:]:
        print("\n".join(rows(Path(name))))


if __name__ == "__main__":
    main()
