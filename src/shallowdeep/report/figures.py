"""Pictures of accuracy against cost, drawn on Figure objects so that no global state is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shallowdeep.analysis.accuracy import ExitFigures
from shallowdeep.analysis.evaluation import Evaluation
from shallowdeep.analysis.operating_points import by_threshold
from shallowdeep.errors import ConfigurationError
from shallowdeep.files import replacing
from shallowdeep.report.point_labels import Polyline, label_points

DPI = 150
_SIZE = (8.0, 6.2)  # inches
_LEAST_SPAN = 0.05  # of accuracy on the y axis: a closer look would make noise look like news
_MANY_EXITS = 10  # beyond, names would cover each other: numbers instead
_LONG_NAME = 12  # characters
_TITLE_WIDTH = 78  # characters
_LEGEND_WIDTH = 45  # characters, beyond which two columns would be cut

# Okabe and Ito's palette, told apart with any kind of colour vision; yellow is left out, too pale on white.
_BLUE, _VERMILION, _GREEN, _BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
_PALETTE = (_BLUE, _VERMILION, _GREEN, "#CC79A7", "#56B4E9", "#E69F00", _BLACK)
_MARKERS = "osD^vPX"
_POINTS = (("D", _GREEN, 13.0), ("s", "#CC79A7", 10.5), ("^", "#E69F00", 8.5), ("v", "#56B4E9", 6.5))
"""Marker, colour and size in points of operating points: each is smaller, so that none hides one drawn before."""
_LINES = ("-", "--", ":", "-.")


def accuracy_cost_figure(found: Evaluation) -> Figure:
    """Return one network's accuracy against relative cost: each exit alone, and all under a threshold.

    Args:
        found: by ``shallowdeep.analysis.evaluation.evaluation``.

    Returns:
        A figure with one axes; lines are labelled ``each exit alone``, ``one threshold for all exits``, ``final
        exit``, ``cost of the backbone`` and, for each operating point, its rules and what it reaches.
    """
    figure, axes = _canvas()
    curve = found.threshold_curve
    costs, accuracies = [exit_.relative_cost for exit_ in found.exits], found.accuracies
    axes.axhline(accuracies[-1], color=_BLACK, linestyle="--", linewidth=1, label="final exit")
    axes.axvline(1.0, color=_BLACK, linestyle=":", linewidth=1, label="cost of the backbone")
    points = [
        (", ".join(rules), point.relative_cost, point.accuracy)
        for point, rules in by_threshold(found.operating_points)
        if point.relative_cost is not None and point.accuracy is not None
    ]
    lines: list[Polyline] = [(costs, accuracies)]  # what labels must not cover
    lines += [([cost], [accuracy]) for _, cost, accuracy in points]
    if curve is not None:
        lines.append((curve.relative_cost, curve.accuracy))
        axes.plot(*lines[-1], color=_BLUE, linewidth=2, label="one threshold for all exits")
    axes.plot(
        costs, accuracies, color=_VERMILION, marker="o", markersize=6, linestyle="", zorder=5, label="each exit alone"
    )
    for (rules, cost, accuracy), (marker, colour, size) in zip(points, cycle(_POINTS), strict=False):
        axes.plot(
            [cost], [accuracy], marker=marker, color=colour, markersize=size, markeredgecolor="white", linestyle="",
            zorder=6, label=f"{rules}: {100 * accuracy:.1f} % at cost {cost:.2f}",
        )  # fmt: skip
    _finish(figure, axes, f"Accuracy against cost\n{_about(found)}", max(costs))
    lines += [(axes.get_xlim(), (accuracies[-1], accuracies[-1])), ((1.0, 1.0), axes.get_ylim())]
    label_points(axes, costs, accuracies, _exit_labels(found.exits), lines)
    return figure


def comparison_figure(evaluations: Mapping[str, Evaluation]) -> Figure:
    """Return several networks' accuracy against relative cost in one picture.

    Args:
        evaluations: by the label of the run.

    Returns:
        A figure with one axes and, for each run, a line with the run's label: its threshold curve, or its exits where
        it has no curve. Exits alone are unlabelled points of the same colour.

    Raises:
        ConfigurationError: no evaluation.
    """
    if not evaluations:
        raise ConfigurationError("Expected at least one run to compare, got none")
    figure, axes = _canvas()
    axes.axvline(1.0, color=_BLACK, linestyle=":", linewidth=1, label="cost of the backbone")
    widest = max(found.exits[-1].relative_cost for found in evaluations.values())
    for index, (label, found) in enumerate(evaluations.items()):
        colour, marker = _PALETTE[index % len(_PALETTE)], _MARKERS[index % len(_MARKERS)]
        line = _LINES[index % len(_LINES)]
        exits = [exit_.relative_cost for exit_ in found.exits], found.accuracies
        curve = found.threshold_curve
        shown = exits if curve is None else (curve.relative_cost, curve.accuracy)
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6}
        (drawn,) = axes.plot(*shown, linestyle=line, linewidth=2, label=label, **style)
        drawn.set_markevery([])  # the legend still shows the marker of the exits
        axes.plot(*exits, linestyle="", alpha=0.8, **style)
    data = "\n".join(sorted({_about(found) for found in evaluations.values()}))
    _finish(figure, axes, f"Accuracy against cost (line: one threshold, points: each exit alone)\n{data}", widest)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at 150 dpi, whole or not at all.

    Args:
        figure: any figure.
        path: the file to write or renew.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def _canvas() -> tuple[Figure, Axes]:
    """Return an empty figure that fits its text, and its axes."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(figure: Figure, axes: Axes, title: str, highest_cost: float) -> None:
    """Set what all pictures share: title, axis names, limits, grid, and a legend below where it covers nothing."""
    wrapped = [fill(line, _TITLE_WIDTH) for line in title.split("\n")]
    axes.set_title("\n".join(wrapped), fontsize=12, parse_math=False)
    axes.set_xlabel("relative cost (multiply-adds, backbone = 1)", fontsize=11)
    axes.set_ylabel("accuracy", fontsize=11)
    axes.set_xlim(0.0, 1.08 * max(1.0, highest_cost))
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - spare, high + spare)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    axes.tick_params(labelsize=10)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    _, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= _LEGEND_WIDTH else 1
    legend = figure.legend(loc="outside lower center", ncols=columns, fontsize=10, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run may have a dollar in its name


def _about(found: Evaluation) -> str:
    """Return which data an evaluation's numbers come from."""
    about = f"{found.dataset}, {found.split} split, {found.samples:,} samples"
    curve = found.threshold_curve
    return about if curve is None else f"{about}; thresholds chosen on {curve.chosen_on}"


def _exit_labels(exits: Sequence[ExitFigures]) -> list[str]:
    """Return the exits' names where they fit beside their points, else their numbers."""
    names = [exit_.name for exit_ in exits]
    if len(names) <= _MANY_EXITS and all(len(name) <= _LONG_NAME for name in names):
        return names
    return [str(k) for k in range(len(names))]
