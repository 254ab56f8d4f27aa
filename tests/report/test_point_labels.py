"""Labels in pictures cover neither each other nor lines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from shallowdeep.errors import ConfigurationError
from shallowdeep.report.point_labels import label_points


def test_labels_of_close_points_do_not_overlap() -> None:
    """Five points on a curve, closer together than their labels are wide."""
    figure = Figure(figsize=(6, 4), dpi=100)
    axes = figure.subplots()
    x = np.linspace(0.5, 0.62, 5)
    axes.plot(x, x)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = label_points(axes, x.tolist(), x.tolist(), [f"point {k}" for k in range(5)], [(x.tolist(), x.tolist())])
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels]
    assert [label.get_text() for label in labels] == [f"point {k}" for k in range(5)]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.fully_containsx(box.x0) and axes.bbox.fully_containsx(box.x1) for box in boxes)


def test_axes_without_a_figure_are_refused() -> None:
    """Places are compared in pixels, which only a figure has."""
    figure = Figure()
    axes = figure.subplots()
    axes.remove()
    with pytest.raises(ConfigurationError, match="Expected axes of a figure"):
        label_points(axes, [0.5], [0.5], ["a"], [])
