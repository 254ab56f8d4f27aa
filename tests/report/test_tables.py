"""Tables say the right numbers in 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from shallowdeep.analysis.accuracy import ExitFigures
from shallowdeep.analysis.evaluation import Evaluation, ShownCurve
from shallowdeep.analysis.operating_points import OperatingPoint
from shallowdeep.data.sources.registry import DatasetDescription
from shallowdeep.models.registry import ModelRow
from shallowdeep.report.tables import (
    datasets_table,
    evaluation_tables,
    exit_marks,
    exits_table,
    models_table,
    plain_table,
)

FOUND = Evaluation(
    dataset="cifar10",
    split="test",
    samples=10000,
    classes=10,
    exits=(
        ExitFigures("stage1.block3.a_long_name", relative_cost=0.15, accuracy=0.6, correct_so_far=0.6),
        ExitFigures("block 7", relative_cost=0.5, accuracy=0.915, correct_so_far=0.93),
        ExitFigures("block 9", relative_cost=0.75, accuracy=0.93, correct_so_far=0.95),
        ExitFigures("final", relative_cost=1.003, accuracy=0.925, correct_so_far=0.961),
    ),
    cumulative_accuracy=0.961,
    backbone_macs=125_747_840,
    parameters=900_000,
    backbone_parameters=855_770,
    threshold_curve=ShownCurve("tune", 1666, "test", (0.0, 1.1), (0.6, 0.925), (0.15, 1.003)),
    operating_points=(
        OperatingPoint("cost <= 10 %", threshold=None),
        OperatingPoint("cost <= 50 %", threshold=0.87654, accuracy=0.9123, relative_cost=0.4987),
    ),
)


def printed(renderable: RenderableType, width: int = 80) -> str:
    """Return what a terminal of that width shows, checked not to exceed it."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(renderable)
    text = capture.get()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def line_with(text: str, word: str) -> list[str]:
    """Return the words of the one line that holds a word."""
    (line,) = (line for line in text.splitlines() if word in line)
    return line.split()


def test_evaluation_tables_show_the_evaluation() -> None:
    """Every exit and operating point has its line, in per cent and points, and the data's origin is said."""
    text = printed(evaluation_tables(FOUND))
    assert "cifar10, test split, 10,000 samples" in text
    assert "125.75 M MACs, 855,770 parameters; internal classifiers add 44,230" in text
    assert line_with(text, "1.003")[:5] == ["3", "final", "1.003", "92.50", "96.10"]
    assert line_with(text, "block 9")[-1] == "best"
    assert "Some exit is right: 96.10 %" in text
    assert line_with(text, "50 %")[-4:] == ["0.8765", "0.499", "91.23", "+1.27"]
    assert "none fits" in text
    assert "Thresholds chosen on tune (1,666 samples held out from training),\nshown on test" in text
    assert "few" not in text


def test_rules_that_choose_one_threshold_share_its_figures() -> None:
    """The figures stand once, beside the first of the rules."""
    point = FOUND.operating_points[1]
    text = printed(evaluation_tables(replace(FOUND, operating_points=(point, replace(point, rule="points lost <= 1")))))
    assert text.count("0.8765") == 1
    assert line_with(text, "points lost <= 1")[:6] == ["points", "lost", "<=", "1", "the", "same"]


def test_it_is_said_how_far_thresholds_carry() -> None:
    """Thresholds from few samples, and those shown on the samples they were chosen on, come with a warning."""
    curve = ShownCurve("tune", 7, "test", (), (), ())
    assert "These are few" in printed(evaluation_tables(replace(FOUND, threshold_curve=curve)))
    same = printed(evaluation_tables(replace(FOUND, threshold_curve=replace(curve, shown_on="tune"))))
    assert "which flatters them" in same


def test_a_single_exit_has_no_table_of_thresholds() -> None:
    """A backbone without internal classifiers leaves nothing to choose."""
    text = printed(evaluation_tables(replace(FOUND, exits=FOUND.exits[-1:])))
    assert "threshold" not in text.lower()


def test_without_operating_points_there_is_no_table_of_them() -> None:
    """An evaluation without tune shows its exits only."""
    text = printed(evaluation_tables(replace(FOUND, threshold_curve=None, operating_points=())))
    assert "threshold" not in text.lower()


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.6, 0.915, 0.93, 0.925], ["", "first within 1 point of the final", "best", ""]),
        ([0.6, 0.93, 0.92], ["", "best, first within 1 point of the final", ""]),
        ([0.6, 0.91, 0.92], ["", "first within 1 point of the final", "best"]),  # a point exactly, in floating point
        ([0.6, 0.92], ["", "best"]),
        ([0.9], ["best"]),
    ],
)
def test_marks(accuracies: list[float], expected: list[str]) -> None:
    """The best exit is marked, and the first early one that loses at most a point."""
    assert exit_marks([ExitFigures("exit", 1.0, accuracy, None) for accuracy in accuracies]) == expected


def test_without_labels_nothing_is_marked() -> None:
    """No exit is known to be the best, and its line has dashes."""
    exits = [ExitFigures("block", 0.5, None, None), ExitFigures("final", 1.0, None, None)]
    assert exit_marks(exits) == ["", ""]
    assert line_with(printed(exits_table(exits)), "final") == ["1", "final", "1.000", "-", "-"]


def test_plain_table_takes_anything_as_text() -> None:
    """Numbers get separators, None a dash, square brackets stay."""
    text = printed(plain_table("All [bold]", ["name [x]", "size"], [["a [red]b[/red]", 1234567], ["c", None]]))
    assert "All [bold]" in text
    assert "name [x]" in text
    assert line_with(text, "[red]")[-1] == "1,234,567"
    assert line_with(text, "c  ")[-1] == "-"


def test_models_are_listed() -> None:
    """A long description wraps instead of running over; what is not known is a dash; no rows is no error."""
    rows = [ModelRow("vgg16", "word " * 40, 14_000_000, (32, 64)), ModelRow("timm:NAME", "any", None, ())]
    text = printed(models_table(rows))
    assert "14,000,000" in text
    assert "32, 64" in text
    assert line_with(text, "timm:NAME") == ["timm:NAME", "any", "-", "-"]
    printed(models_table([]))


def test_datasets_are_listed() -> None:
    """Whether one needs a network is said in words."""
    rows = [DatasetDescription("one", "digits", "here", offline=True), DatasetDescription("two", "dogs", "hub", False)]
    text = printed(datasets_table(rows))
    assert line_with(text, "one") == ["one", "digits", "here", "yes"]
    assert line_with(text, "two") == ["two", "dogs", "hub", "no"]
