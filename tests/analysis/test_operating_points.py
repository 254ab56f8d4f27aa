"""Operating points are chosen on tune and shown on test."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from shallowdeep.analysis.operating_points import OperatingPoint, by_threshold, operating_points
from shallowdeep.errors import DataError
from shallowdeep.exits.predictions import ExitPredictions

COSTS = np.array([0.2, 1.0])


def predictions(first: list[tuple[float, bool]], final: list[bool], costs: np.ndarray = COSTS) -> ExitPredictions:
    """Two exits, two classes, label 0; the first exit's (confidence, right), the final exit's right."""
    logits = np.zeros((2, len(final), 2), np.float32)
    for n, ((confidence, right), right_at_last) in enumerate(zip(first, final, strict=True)):
        logits[0, n, 0 if right else 1] = log(confidence / (1 - confidence))
        logits[1, n, 0 if right_at_last else 1] = 3.0
    return ExitPredictions(logits, np.zeros(len(final), np.int64), costs)


TUNE = predictions([(0.95, True), (0.9, True), (0.8, False), (0.6, False)], [True, True, True, False])
TEST = predictions([(0.99, False), (0.7, True)], [True, True])


def test_choices_by_hand() -> None:
    """A budget of .6 buys the two surest; the loss of 0 the same two, since they lose nothing; .1 buys nothing."""
    poor, budget, loss = operating_points(TUNE, TEST, budgets=(0.1, 0.6), accuracy_loss=0.0)
    assert poor == OperatingPoint("cost <= 10 %", None)
    assert budget.rule == "cost <= 60 %"
    assert budget.threshold == pytest.approx(0.9)
    assert budget.tune_accuracy == 0.75
    assert budget.accuracy == 0.5  # the sure sample of TEST is wrong at the first exit, the unsure right at the last
    assert budget.relative_cost == pytest.approx(0.6)
    assert budget.exit_shares == (0.5, 0.5)
    assert loss.rule == "points lost <= 0"
    assert loss.threshold == budget.threshold


def test_test_labels_do_not_move_thresholds() -> None:
    """Whatever the answers on test are, the thresholds stay."""
    flipped = ExitPredictions(TEST.logits, 1 - TEST.labels, TEST.costs)
    chosen = [point.threshold for point in operating_points(TUNE, TEST)]
    assert [point.threshold for point in operating_points(TUNE, flipped)] == chosen


def test_splits_of_two_networks_are_refused() -> None:
    """Thresholds of one network say nothing about another."""
    other = ExitPredictions(TEST.logits, TEST.labels, np.array([0.3, 1.0]))
    with pytest.raises(DataError, match="Expected two splits from one network"):
        operating_points(TUNE, other)


def test_rules_that_choose_one_threshold_stand_together() -> None:
    """Points come once, in the order of their first rules; those that no threshold fits stand together too."""
    points = [OperatingPoint("a", None), OperatingPoint("b", 0.6, 0.9), OperatingPoint("c", 0.5, 0.8)]
    again = [OperatingPoint("d", 0.6, 0.9), OperatingPoint("e", None)]
    assert by_threshold([*points, *again]) == [
        (points[0], ("a", "e")), (points[1], ("b", "d")), (points[2], ("c",)),
    ]  # fmt: skip
