"""Figures hold the evaluation's numbers and become PNG files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D

from shallowdeep.analysis.evaluation import Evaluation, evaluation
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.report.figures import accuracy_cost_figure, comparison_figure, save_figure


def predictions(seed: int, exits: int) -> ExitPredictions:
    """Later exits are right more often."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 300)
    logits = rng.normal(size=(exits, 300, 5)).astype(np.float32)
    logits[:, np.arange(300), labels] += np.linspace(1, 3, exits, dtype=np.float32)[:, None]
    return ExitPredictions(logits, labels, np.linspace(0.1, 1.02, exits + 1)[1:])


def evaluated(exits: int = 4, *, tuned: bool = True, dataset: str = "cifar10") -> Evaluation:
    """Return what evaluate finds."""
    names = [f"block {k}" for k in range(exits - 1)] + ["final"]
    sizes = {"backbone_macs": 1000, "parameters": 120, "backbone_parameters": 100}
    tune = predictions(1, exits) if tuned else None
    return evaluation(dataset, "test", predictions(0, exits), tune=tune, names=names, **sizes)


def lines_of(figure: Figure) -> dict[str, Line2D]:
    """Return the figure's labelled lines."""
    return {
        str(line.get_label()): line for line in figure.axes[0].get_lines() if not str(line.get_label()).startswith("_")
    }


def test_one_network_by_its_lines() -> None:
    """Exits, curve, operating points, final accuracy and backbone cost are where the evaluation says."""
    found = evaluated()
    assert found.threshold_curve is not None
    figure = accuracy_cost_figure(found)
    lines = lines_of(figure)
    exits = lines.pop("each exit alone")
    assert np.asarray(exits.get_xdata()).tolist() == [exit_.relative_cost for exit_ in found.exits]
    assert np.asarray(exits.get_ydata()).tolist() == [exit_.accuracy for exit_ in found.exits]
    curve = lines.pop("one threshold for all exits")
    assert np.asarray(curve.get_xdata()).tolist() == list(found.threshold_curve.relative_cost)
    assert np.asarray(curve.get_ydata()).tolist() == list(found.threshold_curve.accuracy)
    assert set(np.asarray(lines.pop("final exit").get_ydata()).tolist()) == {found.exits[-1].accuracy}
    assert set(np.asarray(lines.pop("cost of the backbone").get_xdata()).tolist()) == {1.0}
    points = [point for point in found.operating_points if point.threshold is not None]
    assert [label.split(":")[0] for label in lines] == [point.rule for point in points]
    assert [np.asarray(line.get_xdata()).tolist() for line in lines.values()] == [
        [point.relative_cost] for point in points
    ]
    title = figure.axes[0].get_title()
    assert "cifar10, test split, 300 samples; thresholds chosen on tune" in title


def test_operating_points_can_be_told_apart() -> None:
    """Equal points are one marker that names all rules; of others each has its shape, colour and size."""
    found = evaluated()
    first = replace(found.operating_points[1], rule="first")
    second = replace(first, rule="second", threshold=0.8)
    near = replace(first, rule="near", threshold=0.9)
    again = replace(first, rule="again")
    lines = lines_of(accuracy_cost_figure(replace(found, operating_points=(first, near, again, second))))
    points = [(label, line) for label, line in lines.items() if " at cost " in label]
    assert [label.split(":")[0] for label, _ in points] == ["first, again", "near", "second"]
    for looks in (Line2D.get_marker, Line2D.get_color, Line2D.get_markersize):
        assert len({looks(line) for _, line in points}) == 3
    sizes = [line.get_markersize() for _, line in points]
    assert sizes == sorted(sizes, reverse=True)  # what is drawn later does not hide what it lies on


@pytest.mark.parametrize(("exits", "first"), [(4, "block 0"), (1, "final"), (15, "0")])
def test_every_exit_is_labelled_once_and_apart(exits: int, first: str) -> None:
    """Labels are names, or numbers where there are many, and no two cover each other."""
    figure = accuracy_cost_figure(evaluated(exits))
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert len(texts) == exits
    assert texts[0].get_text() == first
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_without_tune_there_is_no_curve() -> None:
    """The exits alone are drawn, and nothing is said of thresholds."""
    figure = accuracy_cost_figure(evaluated(tuned=False))
    assert set(lines_of(figure)) == {"each exit alone", "final exit", "cost of the backbone"}
    assert "threshold" not in figure.axes[0].get_title()


def test_several_networks_by_their_labels() -> None:
    """Each run has its labelled line in its own colour: its curve, or its exits where it has none."""
    found = {"joint": evaluated(), "ic-only": evaluated(3, tuned=False)}
    lines = lines_of(comparison_figure(found))
    assert set(lines) == {"joint", "ic-only", "cost of the backbone"}
    curve = found["joint"].threshold_curve
    assert curve is not None
    assert np.asarray(lines["joint"].get_ydata()).tolist() == list(curve.accuracy)
    assert np.asarray(lines["ic-only"].get_ydata()).tolist() == [exit_.accuracy for exit_ in found["ic-only"].exits]
    assert lines["joint"].get_color() != lines["ic-only"].get_color()


def test_nothing_to_compare_is_told() -> None:
    """An empty comparison is refused."""
    with pytest.raises(ConfigurationError, match="Expected at least one run"):
        comparison_figure({})


def test_names_are_text_and_not_mathematics(tmp_path: Path) -> None:
    """Dollars in paths and names do not break the picture."""
    found = evaluated(dataset=r"/data/$\broken$")
    found = replace(found, exits=(replace(found.exits[0], name=r"$\x$"), *found.exits[1:]))
    save_figure(accuracy_cost_figure(found), tmp_path / "one.png")
    save_figure(comparison_figure({r"$\run$": found}), tmp_path / "many.png")
    assert all((tmp_path / name).stat().st_size > 0 for name in ("one.png", "many.png"))


def test_png_has_the_size_asked_for(tmp_path: Path) -> None:
    """8 by 6.2 inches at 150 dots each are 1200 by 930 pixels, in a folder made for it."""
    path = tmp_path / "figures" / "curve.png"
    save_figure(accuracy_cost_figure(evaluated()), path)
    assert imread(path).shape[:2] == (930, 1200)
    assert list(path.parent.iterdir()) == [path]
