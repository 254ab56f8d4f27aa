"""How answers change from exit to exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions

STABLE, WRONG_TO_RIGHT, RIGHT_TO_WRONG, FLICKERING = range(4)
NAMES = ("stable", "wrong_to_right", "right_to_wrong", "flickering")
MOST_PAIRS = 10

Answers = NDArray[np.int64]


def switches(answers: Answers) -> Answers:
    """Return how often each sample's answer changes from one exit to the next.

    Args:
        answers: (E, N) integers.

    Returns:
        (N,) integers in [0, E-1].
    """
    changes: Answers = (answers[1:] != answers[:-1]).sum(axis=0)
    return changes


def kinds(answers: Answers, labels: NDArray[Any]) -> Answers:
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
    found: Answers = np.full(answers.shape[1], FLICKERING)
    found[once & right[-1]] = WRONG_TO_RIGHT
    found[once & ~right[-1]] = RIGHT_TO_WRONG
    found[switches(answers) == 0] = STABLE
    return found


def trajectories(logits: NDArray[Any], labels: NDArray[Any] | None) -> dict[str, float | None]:
    """Return shares of the kinds of trajectories.

    Args:
        logits: (E, N, C) floating, unnormalised.
        labels: (N,) integers, or None where they are not known.

    Returns:
        ``stable``, ``changing`` (the rest), ``mean_switches``, and ``wrong_to_right``, ``right_to_wrong``,
        ``flickering``, which are None without labels; fractions of the samples.
    """
    answers = logits.argmax(axis=-1)
    changed = switches(answers)
    stable = float((changed == 0).mean())
    found: dict[str, float | None] = {
        "stable": stable, "changing": 1 - stable, "mean_switches": float(changed.mean()), **dict.fromkeys(NAMES[1:])
    }  # fmt: skip
    if labels is not None:
        kind = kinds(answers, labels)
        found.update({name: float((kind == number).mean()) for number, name in enumerate(NAMES) if number})
    return found


def classes_confused(pred: ExitPredictions, names: Sequence[str], most: int = MOST_PAIRS) -> list[dict[str, Any]]:
    """Return the wrong answers that samples pass through most.

    Args:
        pred: predictions of all exits on one split.
        names: C of them.
        most: pairs to return.

    Returns:
        The commonest pairs: ``label``, ``answer`` (another class, given by some exit before the last), ``samples`` that
        this happens to, and ``then_right``, how many of these the final exit gets right; commonest first.
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
    return [
        {
            "label": names[pairs[row] // classes],
            "answer": names[pairs[row] % classes],
            "samples": int(samples[row]),
            "then_right": int(mended[row]),
        }
        for row in order
    ]
