"""Static pictures of an analysis: overthinking, confusion and error indicators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shallowdeep.analysis.analysis import Analysis
from shallowdeep.analysis.confusion_levels import ConfusionLevels
from shallowdeep.analysis.error_detection import Detection
from shallowdeep.analysis.findings import Findings
from shallowdeep.analysis.overthinking import Destructive, Wasteful
from shallowdeep.report.analysis_tables import heading

# Okabe and Ito's palette, told apart with any kind of colour vision.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#999999"
_SIZE = (8.0, 4.2)  # inches
_MANY = 12  # exits, beyond which numbers stand for names


def analysis_figures(analysis: Analysis) -> dict[str, Figure]:
    """Return figures by name; those that have nothing to show are left out.

    Args:
        analysis: what ``analyze`` found.

    Returns:
        ``overthinking``, ``confusion`` and ``error-indicators``.
    """
    found = analysis.findings
    figures: dict[str, Figure] = {}
    if found.wasteful is not None and found.destructive is not None:
        figures["overthinking"] = _overthinking(found, found.wasteful, found.destructive)
    if found.confusion is not None:
        figures["confusion"] = _confusion(found.confusion)
    if found.error_indicators is not None:
        figures["error-indicators"] = _indicators(found.error_indicators)
    for figure in figures.values():
        figure.suptitle(heading(analysis), fontsize=9, color="0.35", parse_math=False)
    return figures


def _overthinking(found: Findings, waste: Wasteful, lost: Destructive) -> Figure:
    """Where samples are first right, and where errors were last right."""
    figure, (left, right) = _canvas(2)
    names = _names(found)
    shares = np.asarray([*waste.first_right, waste.never_right]) / found.samples
    colours = [_BLUE] * (len(names) - 1) + [_GREY, _VERMILION]
    left.bar([*names, "never"], 100 * shares, color=colours)
    left.set_title(f"Wasteful: {100 * waste.share:.1f} % are right before the end", fontsize=11)
    left.set_ylabel("% of samples first right there")
    if lost.share_of_errors is not None:
        counts = np.asarray(lost.last_right_at) / lost.errors
        right.bar(names[:-1], 100 * counts, color=_VERMILION)
        right.set_title(f"Destructive: {100 * lost.share_of_errors:.1f} % of {lost.errors:,} errors", fontsize=11)
    else:
        right.set_title("Destructive: no error", fontsize=11)
    right.set_ylabel("% of errors last right there")
    for axes in (left, right):
        axes.tick_params(axis="x", rotation=45)
    return figure


def _confusion(levels: ConfusionLevels) -> Figure:
    """How confusion of right and wrong answers is spread."""
    figure, (axes,) = _canvas(1)
    bins = levels.histogram
    groups = [("all", bins.all, _BLUE)]
    if bins.right is not None and bins.wrong is not None:
        groups = [("right", bins.right, _BLUE), ("wrong", bins.wrong, _VERMILION)]
    for name, counts, colour in groups:
        total = sum(counts)
        if total:
            shares = 100 * np.asarray(counts, dtype=float) / total
            axes.stairs(shares, bins.edges, color=colour, fill=True, alpha=0.45)
            axes.stairs(shares, bins.edges, color=colour, linewidth=1.5, label=f"{name} ({total:,})")
    axes.set_xlabel("confusion" + ("" if levels.normalisation is None else ", z-scored by training data"))
    axes.set_ylabel("% of the answers")
    axes.legend(frameon=False)
    axes.set_title("Confusion of the answers of the final exit", fontsize=11)
    return figure


def _indicators(indicators: Mapping[str, Detection]) -> Figure:
    """How well each indicator tells errors."""
    figure, (axes,) = _canvas(1)
    ordered = sorted(indicators.items(), key=lambda item: item[1].auroc)
    for row, (name, block) in enumerate(ordered):
        low, high = block.intervals.get("auroc", (block.auroc, block.auroc))
        colour = _VERMILION if name == "confusion" else _BLUE
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(block.auroc, row, "o", color=colour)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_xlabel("AUROC, with 95 % bootstrap intervals (an error of the final exit is the positive)")
    axes.set_title("What tells errors", fontsize=11)
    return figure


def _canvas(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for one in axes:
        one.grid(color="0.9")
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _names(found: Findings) -> list[str]:
    names = [exit_.name for exit_ in found.exits]
    return names if len(names) <= _MANY else [str(k) for k in range(len(names))]
