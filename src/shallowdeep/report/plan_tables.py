"""The tables of ``plan``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.inference.plan_record import Finalist, Plan
from shallowdeep.inference.precision import runtime_name
from shallowdeep.report.tables import plain_table


def plan_tables(plan: Plan) -> RenderableType:
    """Return static networks, exits, what was timed, and what to deploy."""
    sizes: Sequence[int] = plan.setting["batch_sizes"]
    images = plan.setting.get("images")  # of a bundle's plan
    right = "right on tune" if images is None else f"right on {images}"
    batches = [f"batch {size}" for size in sizes]
    statics = [
        (
            row.name, *(f"{value:.2f}" for value in row.milliseconds), f"{100 * row.accuracy:.1f} %",
            "" if row.allowed else "loses more than a point",
        )
        for row in plan.statics
    ]  # fmt: skip
    parts: list[RenderableType] = [plain_table("Static network, ms a batch", ["runtime", *batches, right, ""], statics)]
    if plan.exit_rows:
        rows = [
            (
                runtime_name(row.backend, row.precision), row.exit,
                *(f"{100 * depth:.0f} + {100 * head:.1f}" for depth, head in zip(row.depth, row.head, strict=True)),
            )
            for row in plan.exit_rows
        ]  # fmt: skip
        title = "Each exit: % of the static network's time up to it + its head and cut"
        parts.append(plain_table(title, ["runtime", "exit", *batches], rows))
    if plan.finalists:
        columns = ["runtime", "exits", "cost", right, *batches]
        title = "Timed: times as fast as the fastest static network [95 % interval]"
        parts.append(plain_table(title, columns, [_finalist(one) for one in plan.finalists]))
    parts += [Text(reason) for reason in plan.notes]
    parts.append(Text(plan.sentence, style="bold"))
    return Group(*parts)


def _finalist(one: Finalist) -> tuple[object, ...]:
    speeds = (f"{speed.speedup:.2f} [{speed.low:.2f}, {speed.high:.2f}]" for speed in one.speeds)
    exits = ", ".join(map(str, one.exits))
    return (
        runtime_name(one.backend, one.precision), exits, f"{one.relative_cost:.3f}", f"{100 * one.accuracy:.1f} %",
        *speeds,
    )  # fmt: skip
