"""Labels beside points, put where they cover neither each other nor the lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError

Polyline = tuple[Sequence[float], Sequence[float]]  # x and y values, joined in order

_FONT = 9  # points
_DISTANCES = (8, 16, 26)  # points from the centre of the marker to the edge of the text
_SIDES = ((0, -1), (1, -1), (1, 0), (-1, 1), (0, 1), (-1, 0), (-1, -1), (1, 1))  # the best-liked first
_ALIGN_X = {-1: "right", 0: "center", 1: "left"}
_ALIGN_Y = {-1: "top", 0: "center", 1: "bottom"}
_COVERS_TEXT = 1000.0  # against one per sample of a line covered
_OUTSIDE = 500.0
_SPACING = 2.0  # pixels between the samples of a line


def label_points(
    axes: Axes, x: Sequence[float], y: Sequence[float], labels: Sequence[str], avoid: Sequence[Polyline]
) -> list[Annotation]:
    """Write a label beside each point, for each in turn at the clearest place.

    Call it last: limits, title and legend must stand, since places are compared in pixels.

    Args:
        axes: where the points are drawn.
        x: one value per point, in data units.
        y: one value per point, in data units.
        labels: one text per point.
        avoid: lines and points not to cover, in data units.

    Returns:
        The annotations, one per point.

    Raises:
        ConfigurationError: the axes belong to no figure.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ConfigurationError("Expected axes of a figure, got axes that were removed from theirs")
    figure.draw_without_rendering()  # settles limits and layout
    obstacles = np.concatenate([_pixels(axes, polyline) for polyline in avoid])
    taken: list[Bbox] = []
    annotations = []
    for point_x, point_y, label in zip(x, y, labels, strict=True):
        annotation = axes.annotate(label, (point_x, point_y), (0, 0), textcoords="offset points", fontsize=_FONT)
        annotation.set_parse_math(False)
        annotation.set_path_effects([withStroke(linewidth=2.5, foreground="white")])  # readable across a line
        size = annotation.get_window_extent()
        centre = axes.transData.transform((point_x, point_y))
        places = list(_places(centre, size.width, size.height, figure.dpi / 72))
        penalties = [_penalty(box, taken, obstacles, axes.bbox) for _, _, box in places]
        side, distance, box = places[int(np.argmin(penalties))]
        annotation.set_position((side[0] * distance, side[1] * distance))
        annotation.set(ha=_ALIGN_X[side[0]], va=_ALIGN_Y[side[1]])
        taken.append(box)
        annotations.append(annotation)
    return annotations


def _places(
    centre: NDArray[Any], width: float, height: float, pixels_per_point: float
) -> Iterator[tuple[tuple[int, int], float, Bbox]]:
    """Give side, distance in points and box in pixels of each place beside a point, the best-liked first."""
    for distance in _DISTANCES:
        for side in _SIDES:
            reach = distance / np.hypot(*side)  # the same distance on diagonals
            middle = centre + np.multiply(side, reach * pixels_per_point + np.array([width, height]) / 2)
            left, bottom = middle - np.array([width, height]) / 2
            yield side, float(reach), Bbox.from_bounds(left, bottom, width, height)


def _penalty(box: Bbox, taken: list[Bbox], obstacles: NDArray[np.float64], frame: Bbox) -> float:
    """Return how much a label in this box would cover or miss, 0 for nothing.

    Args:
        box: in pixels.
        taken: boxes of labels already there.
        obstacles: (P, 2) pixels of lines and points.
        frame: of the axes, in pixels.
    """
    covered = np.all((obstacles >= box.min) & (obstacles <= box.max), axis=1).sum()
    texts = Bbox.count_overlaps(box, taken) if taken else 0
    inside = np.all(box.min >= frame.min) and np.all(box.max <= frame.max)
    return float(covered) + _COVERS_TEXT * texts + (0.0 if inside else _OUTSIDE)


def _pixels(axes: Axes, polyline: Polyline) -> NDArray[np.float64]:
    """Return (P, 2) pixels along a polyline, close enough together that no label slips between."""
    corners = axes.transData.transform(np.column_stack(polyline))
    pieces = [corners]
    for start, end in pairwise(corners):
        count = int(np.hypot(*(end - start)) // _SPACING)
        pieces.append(np.linspace(start, end, count, endpoint=False))
    return np.concatenate(pieces)
