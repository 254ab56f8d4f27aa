"""Trajectories by hand."""

from __future__ import annotations

import numpy as np

from shallowdeep.analysis.trajectories import (
    FLICKERING,
    RIGHT_TO_WRONG,
    STABLE,
    WRONG_TO_RIGHT,
    ClassPair,
    classes_confused,
    kinds,
    switches,
    trajectories,
)
from shallowdeep.exits.predictions import ExitPredictions

# One column a sample, all of class 0: right throughout, wrong throughout, mended, lost, mended and lost again, from one
# wrong answer to another, lost and mended.
ANSWERS = np.array([[0, 1, 1, 0, 1, 1, 0], [0, 1, 2, 0, 0, 2, 1], [0, 1, 0, 2, 2, 2, 0]])
LABELS = np.zeros(7, np.int64)
LOGITS = np.eye(3, dtype=np.float32)[ANSWERS]


def test_kinds_by_hand() -> None:
    """Stable is one answer throughout; flickering is all that is neither stable nor changes sides once."""
    expected = [STABLE, STABLE, WRONG_TO_RIGHT, RIGHT_TO_WRONG, FLICKERING, FLICKERING, FLICKERING]
    assert kinds(ANSWERS, LABELS).tolist() == expected
    assert switches(ANSWERS).tolist() == [0, 0, 2, 1, 2, 1, 2]


def test_shares_by_hand() -> None:
    """The four kinds add up to 1; without labels only changes are told."""
    found = trajectories(LOGITS, LABELS)
    assert found.stable == 2 / 7
    assert found.mean_switches == 8 / 7
    parts = [found.stable, found.wrong_to_right, found.right_to_wrong, found.flickering]
    assert parts == [2 / 7, 1 / 7, 1 / 7, 3 / 7]
    blind = trajectories(LOGITS, None)
    assert (blind.stable, blind.changing) == (2 / 7, 5 / 7)
    assert blind.flickering is None


def test_pairs_by_hand() -> None:
    """Class 1 is answered early to five samples of class 0, two of which end right; class 2 to two, one ends so."""
    pairs = classes_confused(ExitPredictions(LOGITS, LABELS, np.array([0.3, 0.6, 1.0])), ["a", "b", "c"])
    assert pairs == (
        ClassPair(label="a", answer="b", samples=5, then_right=2),
        ClassPair(label="a", answer="c", samples=2, then_right=1),
    )


def test_a_single_exit_changes_nothing() -> None:
    """Every trajectory of one exit is stable and passes through nothing."""
    assert trajectories(LOGITS[:1], LABELS).stable == 1.0
    assert classes_confused(ExitPredictions(LOGITS[:1], LABELS, np.array([1.0])), ["a", "b", "c"]) == ()
