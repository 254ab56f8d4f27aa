"""Samples to show, on predictions written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from shallowdeep.analysis.overthinking import last_early_right
from shallowdeep.analysis.samples import (
    destructive_samples,
    simple_and_complex,
    wasteful_samples,
)
from shallowdeep.exits.predictions import ExitPredictions

CLASSES = 4


def predictions(
    labels: Sequence[int], answers: Sequence[Sequence[int]], logit: Sequence[Sequence[float]]
) -> ExitPredictions:
    """Answers and how sure they are (the answer's logit, the others' being 0), exit by exit."""
    logits = np.zeros((len(answers), len(labels), CLASSES), dtype=np.float32)
    for k, row in enumerate(answers):
        logits[k, np.arange(len(labels)), row] = logit[k]
    return ExitPredictions(logits, np.array(labels), np.linspace(0.2, 1.02, len(answers)))


def test_last_early_right() -> None:
    """The final exit does not count; -1 where no early exit is right."""
    correct = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=bool)
    assert last_early_right(correct).tolist() == [0, 1, -1, -1]
    assert last_early_right(correct[:1]).tolist() == [-1, -1, -1, -1]


def test_destructive_samples_by_hand() -> None:
    """Surest at the last early exit that was right first, ties by place; the final exit's sureness does not matter."""
    pred = predictions(
        labels=[0, 0, 1, 2, 3, 1],
        answers=[[0, 0, 1, 2, 0, 1], [0, 1, 1, 2, 0, 0], [1, 1, 0, 2, 0, 0]],
        logit=[[9, 2, 9, 9, 9, 3], [1, 5, 3, 9, 9, 9], [1, 9, 1, 9, 9, 1]],
    )
    # 0 is right last at exit 1 with logit 1, 1 at exit 0 with 2, 2 at exit 1 with 3, 5 at exit 0 with 3
    assert destructive_samples(pred, 12).tolist() == [2, 5, 1, 0]
    assert destructive_samples(pred, 2).tolist() == [2, 1]  # of each class one at most
    assert destructive_samples(pred, 0).tolist() == []


def test_at_most_a_third_of_one_class() -> None:
    """A class with many destructive samples has a third of the places, whether or not the others fill theirs."""
    labels = [0] * 10 + [1] * 3
    pred = predictions(labels, [labels, [2] * 13], [[*range(1, 11), 0.5, 0.4, 0.3], [1] * 13])
    assert destructive_samples(pred, 6).tolist() == [9, 8, 10, 11]
    assert destructive_samples(pred, 9).tolist() == [9, 8, 7, 10, 11, 12]


def test_wasteful_samples_by_hand() -> None:
    """The surest of every class come before the second of any; a wrong middle exit changes nothing."""
    pred = predictions(
        labels=[0, 0, 0, 1, 3, 3],
        answers=[[0, 0, 0, 1, 3, 0], [1, 0, 0, 1, 3, 3], [0, 0, 0, 1, 0, 3]],
        logit=[[5, 7, 6, 1, 9, 9], [9, 9, 9, 9, 9, 9], [1, 1, 1, 1, 1, 1]],
    )
    assert wasteful_samples(pred, 12).tolist() == [1, 3, 2, 0]
    assert wasteful_samples(pred, 2).tolist() == [1, 3]


def test_simple_and_complex_by_hand() -> None:
    """The class is the one with most of the rarer kind; complex samples come latest first, then surest."""
    pred = predictions(
        labels=[0, 0, 0, 0, 1, 1, 1, 1, 1, 2],
        answers=[
            [0, 0, 0, 1, 1, 1, 0, 0, 0, 0],
            [0] * 10,
            [0, 0, 0, 0, 1, 1, 1, 0, 0, 0],
            [0, 0, 0, 0, 1, 1, 1, 1, 1, 0],
        ],
        logit=[[1, 2, 3, 4, 5, 6, 1, 1, 1, 1], [1] * 10, [1] * 6 + [9, 1, 1, 1], [1] * 7 + [2, 3, 1]],
    )
    # class 0: three simple, none late (3 is first right at exit 1); class 1: two simple, three late; class 2: never
    found = simple_and_complex(pred, 12)
    assert found.label == 1
    assert found.simple.tolist() == [5, 4]
    assert found.complex.tolist() == [8, 7, 6]
    few = simple_and_complex(pred, 1)
    assert (few.simple.tolist(), few.complex.tolist()) == ([5], [8])


def test_simple_and_complex_with_two_exits() -> None:
    """The first exit is never a late one, and a class with one kind only is not taken."""
    pred = predictions([0, 0, 1], [[0, 1, 1], [0, 0, 1]], [[1, 1, 1], [1, 1, 1]])
    found = simple_and_complex(pred, 12)
    assert (found.label, found.simple.tolist(), found.complex.tolist()) == (0, [0], [1])
    assert simple_and_complex(predictions([0, 1], [[0, 0], [0, 1]], [[1, 1], [1, 1]]), 12).label is None


CHOOSERS = [destructive_samples, wasteful_samples]


@pytest.mark.parametrize("choose", CHOOSERS)
@pytest.mark.parametrize("answers", [[0, 1, 2], [1, 2, 3]])
def test_a_single_exit_shows_nothing(choose: Callable[[ExitPredictions, int], np.ndarray], answers: list[int]) -> None:
    """Without early exits there is no overthinking."""
    found = choose(predictions([0, 1, 2], [answers], [[1, 2, 3]]), 12)
    assert found.shape == (0,)
    assert found.dtype == np.int64


def test_a_single_exit_has_no_simple_samples() -> None:
    """There is nothing later to compare with."""
    found = simple_and_complex(predictions([0, 1, 2], [[0, 1, 2]], [[1, 2, 3]]), 12)
    assert (found.label, len(found.simple), len(found.complex)) == (None, 0, 0)


def test_no_errors() -> None:
    """Nothing destructive, all of it wasteful."""
    pred = predictions([0, 1], [[0, 1], [0, 1]], [[1, 2], [1, 1]])
    assert len(destructive_samples(pred, 12)) == 0
    assert wasteful_samples(pred, 12).tolist() == [1, 0]
