"""Tables for the terminal; every one fits 80 columns and prints in plain ASCII but for its borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shallowdeep.analysis.accuracy import ExitFigures
from shallowdeep.analysis.evaluation import Evaluation, ShownCurve
from shallowdeep.analysis.operating_points import OperatingPoint, by_threshold
from shallowdeep.exits.predictions import FEW_SAMPLES

if TYPE_CHECKING:
    from shallowdeep.data.sources.registry import DatasetDescription
    from shallowdeep.models.registry import ModelRow

_NEAR = 0.01  # one point
_ROUNDING = 1e-12
_MISSING = "-"
_HELD_OUT = " held out from training"


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table of any values; columns that hold only numbers are flush right.

    Args:
        title: printed above; empty for none.
        columns: headings.
        rows: one value per column; None shows as ``-``. Square brackets are text, not markup.
    """
    table = Table(title=Text(title, style="bold") if title else None, title_justify="left", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        values = [row[index] for row in rows]
        table.add_column(Text(column), justify="right" if _are_numbers(values) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else Text(_shown(value)) for value in row))
    return table


def models_table(rows: Sequence[ModelRow]) -> Table:
    """Return the table of the names that ``--model`` takes."""
    shown = [(row.name, row.description, row.parameters, ", ".join(map(str, row.image_sizes)) or None) for row in rows]
    return plain_table("Models", ["name", "what it is", "parameters", "image sizes"], shown)


def datasets_table(rows: Sequence[DatasetDescription]) -> Table:
    """Return the table of the names that ``--data`` takes."""
    shown = [(row.name, row.what, row.origin, row.offline) for row in rows]
    return plain_table("Datasets", ["name", "what it is", "from", "offline"], shown)


def evaluation_tables(found: Evaluation) -> RenderableType:
    """Return what ``evaluate`` finds for people: what each exit achieves, and what thresholds make of it.

    Args:
        found: by ``shallowdeep.analysis.evaluation.evaluation``.

    Returns:
        One rich renderable, at most 80 columns wide.
    """
    parts: list[RenderableType] = [_heading(found), exits_table(found.exits)]
    parts.append(Text(f"Some exit is right: {percent(found.cumulative_accuracy, 2)} %"))
    if found.threshold_curve is not None and len(found.exits) > 1:  # one exit leaves nothing to choose
        parts += [Text(""), operating_points_table(found.operating_points, found.accuracies[-1])]
        parts.append(Text(_choice(found.threshold_curve), style="dim"))
    return Group(*parts)


def _choice(curve: ShownCurve) -> str:
    """Return where thresholds were chosen, and how far that carries."""
    samples = curve.samples_chosen_on
    if curve.chosen_on == curve.shown_on:
        return f"Thresholds chosen and shown on {curve.shown_on} ({samples:,} samples), which flatters them."
    few = " These are few: expect other costs and losses." if samples < FEW_SAMPLES else ""
    chosen_on = f"{curve.chosen_on} ({samples:,} samples{_HELD_OUT if curve.chosen_on == 'tune' else ''})"
    shown_on = f"shown on {curve.shown_on}, where costs and losses may pass the limits."
    return f"Thresholds chosen on {chosen_on},\n{shown_on}{few}"


def exits_table(exits: Sequence[ExitFigures]) -> Table:
    """Return one line per exit, with marks at the best and at the first that is nearly as good as the final.

    Args:
        exits: the final one last.
    """
    table = _numbers_table(["exit", "name", "cost", "accuracy %", "right so far %", ""], text_columns=(1, 5))
    for index, (exit_, mark) in enumerate(zip(exits, exit_marks(exits), strict=True)):
        table.add_row(
            Text(str(index)),
            Text(exit_.name),
            Text(f"{exit_.relative_cost:.3f}"),
            Text(percent(exit_.accuracy, 2)),
            Text(percent(exit_.correct_so_far, 2)),
            Text(mark),
            style="bold" if mark else "",
        )
    return table


def exit_marks(exits: Sequence[ExitFigures]) -> list[str]:
    """Return what is special about each exit's accuracy.

    Args:
        exits: the final one last.

    Returns:
        One string per exit: ``best`` (the first of equally accurate ones), ``within 1 point`` (the first that loses at
        most one point against the final), both, or nothing; nothing at all without labels.
    """
    accuracies = [exit_.accuracy for exit_ in exits if exit_.accuracy is not None]
    if len(accuracies) < len(exits):
        return [""] * len(exits)
    best = accuracies.index(max(accuracies))
    near = next(k for k, accuracy in enumerate(accuracies) if accuracy >= accuracies[-1] - _NEAR - _ROUNDING)
    marks = [["best"] if k == best else [] for k in range(len(exits))]
    if near < len(exits) - 1:  # that the final exit is as good as itself says nothing
        marks[near].append("first within 1 point of the final")
    return [", ".join(mark) for mark in marks]


def operating_points_table(points: Sequence[OperatingPoint], final_accuracy: float) -> Table:
    """Return a row for each rule; of rules that choose one threshold, all but the first say that it is the same.

    Args:
        points: in the order of the rows.
        final_accuracy: the final exit's, on the split shown, a fraction.
    """
    table = _numbers_table(["rule", "threshold", "cost", "accuracy %", "points lost"], text_columns=(0,))
    for point, rules in by_threshold(points):
        if point.threshold is None or point.accuracy is None:
            for rule in rules:
                table.add_row(Text(rule), Text("none fits"), _MISSING, _MISSING, _MISSING)
            continue
        table.add_row(
            Text(rules[0]),
            Text(f"{point.threshold:.4f}"),
            Text(f"{point.relative_cost:.3f}"),
            Text(percent(point.accuracy, 2)),
            Text(f"{100 * (final_accuracy - point.accuracy) + 0.0:+.2f}"),
        )
        for rule in rules[1:]:
            table.add_row(Text(rule), Text("the same"), _MISSING, _MISSING, _MISSING)
    return table


def _heading(found: Evaluation) -> Text:
    """Return the lines above the tables: the data, and the size of the network."""
    added = found.parameters - found.backbone_parameters
    return Text(
        f"{found.dataset}, {found.split} split, {found.samples:,} samples\n"
        f"backbone {found.backbone_macs / 1e6:,.2f} M MACs, {found.backbone_parameters:,} parameters; "
        f"internal classifiers add {added:,}"
    )


def _numbers_table(columns: Sequence[str], text_columns: Sequence[int]) -> Table:
    """Return an empty table whose columns are flush right, but for those that hold text."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in text_columns else "right", overflow="fold")
    return table


def _are_numbers(values: Sequence[object]) -> bool:
    """Return whether there are values and all that are given are numbers."""
    return bool(values) and all(value is None or isinstance(value, int | float) for value in values)


def _shown(value: object) -> str:
    """Return a cell's text: thousands separated, None as a dash."""
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction in per cent, without the sign; a dash for None."""
    return _MISSING if fraction is None else f"{100 * fraction:.{digits}f}"
