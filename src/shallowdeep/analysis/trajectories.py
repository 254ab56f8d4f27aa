"""How answers change from exit to exit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions

STABLE, WRONG_TO_RIGHT, RIGHT_TO_WRONG, FLICKERING = range(4)
MOST_PAIRS = 10

AnswerPaths = NDArray[np.int64]


@dataclass(frozen=True)
class Trajectories:
    """How answers change from exit to exit; fractions of the samples, unless said otherwise.

    Attributes:
        stable: one answer throughout.
        changing: the rest.
        mean_switches: how often an answer changes, a mean over the samples.
        wrong_to_right: wrong, then right from some exit on; None without labels.
        right_to_wrong: right, then wrong from some exit on; None without labels.
        flickering: neither stable nor one of these two; None without labels.
    """

    stable: float
    changing: float
    mean_switches: float
    wrong_to_right: float | None
    right_to_wrong: float | None
    flickering: float | None


@dataclass(frozen=True)
class ClassPair:
    """A wrong answer that samples of one class pass through.

    Attributes:
        label: name of their class.
        answer: name of the class that some exit before the last gives instead.
        samples: count of those that this happens to.
        then_right: how many of them the final exit has right.
    """

    label: str
    answer: str
    samples: int
    then_right: int


def switches(answers: AnswerPaths) -> AnswerPaths:
    """Return how often each sample's answer changes from one exit to the next.

    Args:
        answers: (E, N) integers.

    Returns:
        (N,) integers in [0, E-1].
    """
    changes: AnswerPaths = (answers[1:] != answers[:-1]).sum(axis=0)
    return changes


def kinds(answers: AnswerPaths, labels: NDArray[Any]) -> AnswerPaths:
    """Return what each sample's trajectory is.

    Args:
        answers: (E, N) integers in [0, C).
        labels: (N,) integers in [0, C).

    Returns:
        (N,): `STABLE` (one answer throughout), `WRONG_TO_RIGHT` (wrong, then right from some exit on),
        `RIGHT_TO_WRONG` (right, then wrong from some exit on), or `FLICKERING` (anything else: right and wrong more
        than once, or one wrong answer after another).
    """
    right = answers == labels
    turns = (right[1:] != right[:-1]).sum(axis=0)
    once = turns == 1
    found: AnswerPaths = np.full(answers.shape[1], FLICKERING)
    found[once & right[-1]] = WRONG_TO_RIGHT
    found[once & ~right[-1]] = RIGHT_TO_WRONG
    found[switches(answers) == 0] = STABLE
    return found


def trajectories(logits: NDArray[Any], labels: NDArray[Any] | None) -> Trajectories:
    """Return shares of the kinds of trajectories.

    Args:
        logits: (E, N, C) floating, unnormalised.
        labels: (N,) integers, or None where they are not known.
    """
    answers = logits.argmax(axis=-1)
    changed = switches(answers)
    stable = float((changed == 0).mean())
    kind = None if labels is None else kinds(answers, labels)

    def share(wanted: int) -> float | None:
        return None if kind is None else float((kind == wanted).mean())

    return Trajectories(
        stable=stable,
        changing=1 - stable,
        mean_switches=float(changed.mean()),
        wrong_to_right=share(WRONG_TO_RIGHT),
        right_to_wrong=share(RIGHT_TO_WRONG),
        flickering=share(FLICKERING),
    )


def classes_confused(pred: ExitPredictions, names: Sequence[str], most: int = MOST_PAIRS) -> tuple[ClassPair, ...]:
    """Return the wrong answers that samples pass through most, the commonest first.

    Args:
        pred: predictions of all exits on one split.
        names: C of them.
        most: pairs to return.
    """
    answers, labels = to_numpy(pred.logits).argmax(axis=-1), to_numpy(pred.labels).astype(np.int64)
    count, classes = pred.samples, pred.classes
    visited = np.zeros((count, classes), dtype=np.bool_)
    for early in answers[:-1]:
        visited[np.arange(count), early] = True
    visited[np.arange(count), labels] = False
    who, answer = np.nonzero(visited)
    pairs, place, samples = np.unique(labels[who] * classes + answer, return_inverse=True, return_counts=True)
    mended = np.bincount(place[answers[-1, who] == labels[who]], minlength=len(pairs))
    order = np.argsort(-samples, kind="stable")[:most]
    return tuple(
        ClassPair(names[pairs[row] // classes], names[pairs[row] % classes], int(samples[row]), int(mended[row]))
        for row in order
    )
