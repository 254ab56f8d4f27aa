"""What a trigger does at every exit, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.errors import DataError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.security.backdoor import (
    Looks,
    attack_success,
    backdoor_findings,
    best_exit,
    blind_answers,
    trigger_depth,
)

COSTS = np.asarray([0.3, 0.6, 1.0])


def saying(answers: list[list[int]], labels: list[int], sure: float = 4.0) -> ExitPredictions:
    """Three exits that give the answers (E, N), of three classes, all as sure."""
    logits = sure * np.eye(3, dtype=np.float32)[np.asarray(answers)]
    return ExitPredictions(logits, np.asarray(labels), COSTS)


CLEAN = saying([[0, 1, 1, 0], [0, 1, 2, 0], [0, 1, 2, 1]], [0, 1, 2, 1])
TRIGGERED = saying([[0, 1, 1, 0], [0, 2, 1, 2], [2, 2, 2, 2]], [0, 1, 1, 0])


def test_success_is_the_share_that_goes_to_the_target() -> None:
    """None, half, all."""
    assert attack_success(np.asarray(TRIGGERED.logits), 2) == [0.0, 0.5, 1.0]


def test_the_trigger_wins_at_the_first_exit_over_a_half() -> None:
    """Exactly a half is no win."""
    assert trigger_depth([0.0, 0.5, 1.0]) == 2
    assert trigger_depth([0.0, 0.1]) is None


def test_the_best_exit_is_the_deepest_that_resists_and_loses_little() -> None:
    """At most a tenth of success and five points of accuracy."""
    assert best_exit([0.0, 0.05, 0.1, 0.9], [0.7, 0.90, 0.91, 0.95]) == 2
    assert best_exit([0.0, 0.0, 0.9], [0.5, 0.89, 0.95]) is None


def test_blind_answers_are_the_majority_of_the_first_half_where_exits_disagree() -> None:
    """Four exits: two vote where confusion is above the limit, a tie goes to the surer class."""
    answers = [[0, 0, 1], [0, 1, 1], [2, 2, 1], [2, 2, 1]]
    logits = 4.0 * np.eye(3, dtype=np.float32)[np.asarray(answers)]
    logits[1, 1, 1] = 9.0  # the second exit is surer of class 1
    pred = ExitPredictions(logits, np.asarray([0, 1, 1]), np.asarray([0.2, 0.4, 0.6, 1.0]))
    assert blind_answers(pred, None, 1.0).tolist() == [0, 1, 1]
    assert blind_answers(pred, None, 100.0).tolist() == [2, 2, 1]


def test_findings_are_those_counted_by_hand() -> None:
    """Exits, confusion, and the ways of answering."""
    found = backdoor_findings(Looks(CLEAN, TRIGGERED, CLEAN, TRIGGERED), 2, names=["a", "b", "final"])
    assert [exit_.attack_success for exit_ in found.exits] == [0.0, 0.5, 1.0]
    assert [exit_.clean_accuracy for exit_ in found.exits] == [0.5, 0.75, 1.0]
    assert [exit_.triggered_accuracy for exit_ in found.exits] == [1.0, 0.5, 0.0]
    assert found.trigger_depth == 2
    assert found.confusion.triggered_mean > found.confusion.clean_mean
    assert sum(found.confusion.histogram.clean) == sum(found.confusion.histogram.triggered) == 4
    rows = {row.name: row for row in found.mitigation}
    assert (rows["none"].clean_accuracy, rows["none"].attack_success) == (1.0, 1.0)
    assert rows["best exit"].clean_accuracy is None  # none loses at most five points
    assert rows["none"].relative_cost == 1.0
    early = rows["exit at 50 %, else final"]
    assert early.relative_cost is not None
    assert early.relative_cost <= 0.5
    assert early.attack_success == 0.0  # all leave at the first exit, which resists
    assert early.triggered_accuracy == 1.0


def test_networks_without_exits_and_images_of_the_target_are_refused() -> None:
    """There is nothing to say about either."""
    alone = ExitPredictions(np.asarray(CLEAN.logits)[-1:], CLEAN.labels, np.asarray([1.0]))
    with pytest.raises(DataError, match="internal classifiers"):
        backdoor_findings(Looks(alone, alone, alone, alone), 2, names=["final"])
    with pytest.raises(DataError, match="other classes than the target"):
        backdoor_findings(Looks(CLEAN, CLEAN, CLEAN, CLEAN), 2, names=["a", "b", "final"])
