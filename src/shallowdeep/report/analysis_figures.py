"""Static pictures of an analysis: overthinking, confusion and error indicators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any kind of colour vision.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#999999"
_SIZE = (8.0, 4.2)  # inches
_MANY = 12  # exits, beyond which numbers stand for names


def analysis_figures(document: Mapping[str, Any]) -> dict[str, Figure]:
    """Return figures by name; those that have nothing to show are left out.

    Args:
        document: of ``analyze``.

    Returns:
        ``overthinking``, ``confusion`` and ``error-indicators``.
    """
    figures: dict[str, Figure] = {}
    if document["wasteful"] is not None:
        figures["overthinking"] = _overthinking(document)
    if document["confusion"] is not None:
        figures["confusion"] = _confusion(document)
    if document["error_indicators"] is not None:
        figures["error-indicators"] = _indicators(document)
    return figures


def _overthinking(document: Mapping[str, Any]) -> Figure:
    """Where samples are first right, and where errors were last right."""
    figure, (left, right) = _canvas(2)
    waste, lost = document["wasteful"], document["destructive"]
    names = _names(document)
    shares = np.asarray([*waste["first_right"], waste["never_right"]]) / document["samples"]
    colours = [_BLUE] * (len(names) - 1) + [_GREY, _VERMILION]
    left.bar([*names, "never"], 100 * shares, color=colours)
    left.set_title(f"Wasteful: {100 * waste['share']:.1f} % are right before the end", fontsize=11)
    left.set_ylabel("% of samples first right there")
    if lost["errors"]:
        counts = np.asarray(lost["last_right_at"]) / lost["errors"]
        right.bar(names[:-1], 100 * counts, color=_VERMILION)
        right.set_title(f"Destructive: {100 * lost['share_of_errors']:.1f} % of {lost['errors']:,} errors", fontsize=11)
    else:
        right.set_title("Destructive: no error", fontsize=11)
    right.set_ylabel("% of errors last right there")
    for axes in (left, right):
        axes.tick_params(axis="x", rotation=45)
    return _titled(figure, document)


def _confusion(document: Mapping[str, Any]) -> Figure:
    """How confusion of right and wrong answers is spread."""
    figure, (axes,) = _canvas(1)
    block = document["confusion"]
    bins, edges = block["histogram"], block["histogram"]["edges"]
    groups = (("right", _BLUE), ("wrong", _VERMILION)) if bins["right"] is not None else (("all", _BLUE),)
    for name, colour in groups:
        counts = np.asarray(bins[name], dtype=float)
        total = counts.sum()
        if total:
            axes.stairs(100 * counts / total, edges, color=colour, fill=True, alpha=0.45)
            axes.stairs(100 * counts / total, edges, color=colour, linewidth=1.5, label=f"{name} ({int(total):,})")
    axes.set_xlabel("confusion" + ("" if block["normalisation"] is None else ", z-scored by training data"))
    axes.set_ylabel("% of the answers")
    axes.legend(frameon=False)
    axes.set_title("Confusion of the answers of the final exit", fontsize=11)
    return _titled(figure, document)


def _indicators(document: Mapping[str, Any]) -> Figure:
    """How well each indicator tells errors."""
    figure, (axes,) = _canvas(1)
    ordered = sorted(document["error_indicators"].items(), key=lambda item: float(item[1]["auroc"]))
    for row, (name, block) in enumerate(ordered):
        low, high = block["intervals"].get("auroc", [block["auroc"]] * 2)
        colour = _VERMILION if name == "confusion" else _BLUE
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(block["auroc"], row, "o", color=colour)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_xlabel("AUROC, with 95 % bootstrap intervals (an error of the final exit is the positive)")
    axes.set_title("What tells errors", fontsize=11)
    return _titled(figure, document)


def _canvas(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for one in axes:
        one.grid(color="0.9")
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _titled(figure: Figure, document: Mapping[str, Any]) -> Figure:
    name = document["dataset"] or document["source"]
    about = f"{name}, {document['split']}, {document['samples']:,} samples"
    figure.suptitle(about, fontsize=9, color="0.35", parse_math=False)
    return figure


def _names(document: Mapping[str, Any]) -> list[str]:
    exits = [str(exit_["name"]) for exit_ in document["exits"]]
    return exits if len(exits) <= _MANY else [str(k) for k in range(len(exits))]
