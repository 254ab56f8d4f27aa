"""How often each exit is right, and how often some exit is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.predictions import ExitPredictions

CHANCE_LEVEL = 0.01  # of the test that a classifier has learned anything


@dataclass(frozen=True)
class ExitFigures:
    """What one exit costs and achieves.

    Attributes:
        name: of the exit.
        relative_cost: multiply-adds to reach it, divided by the backbone's.
        accuracy: fraction, if all samples stopped there; None without labels.
        correct_so_far: share of the samples that this exit or an earlier one classifies correctly; None without labels.
    """

    name: str
    relative_cost: float
    accuracy: float | None
    correct_so_far: float | None


def exit_figures(pred: ExitPredictions, names: Sequence[str], *, labelled: bool = True) -> tuple[ExitFigures, ...]:
    """Return the figures of each exit.

    Args:
        pred: predictions of all exits on one split.
        names: E, the final classifier last.
        labelled: whether the labels of ``pred`` are the truth.
    """
    accuracies = exit_accuracies(pred).tolist() if labelled else [None] * pred.exits
    so_far = correct_so_far(pred).tolist() if labelled else [None] * pred.exits
    rows = zip(names, pred.costs, accuracies, so_far, strict=True)
    return tuple(ExitFigures(name, float(cost), accuracy, share) for name, cost, accuracy, share in rows)


def correctness(pred: ExitPredictions) -> Array:
    """Return which exits are right about which samples.

    Args:
        pred: predictions of all exits on one split.

    Returns:
        (E, N) bool, of the array library of ``pred``.
    """
    xp = array_namespace(pred.logits)
    return xp.argmax(pred.logits, axis=-1) == pred.labels[None, :]


def exit_accuracies(pred: ExitPredictions) -> Array:
    """Return the accuracy of each exit if all samples stopped there.

    Args:
        pred: predictions of all exits on one split.

    Returns:
        (E,) float64 fractions.
    """
    xp = array_namespace(pred.logits)
    return xp.mean(xp.astype(correctness(pred), xp.float64), axis=1)


def correct_so_far(pred: ExitPredictions) -> Array:
    """Return, for each exit k, the share of samples that some exit up to and including k classifies correctly.

    Args:
        pred: predictions of all exits on one split.

    Returns:
        (E,) float64 fractions that never fall; the last is the cumulative accuracy.
    """
    xp = array_namespace(pred.logits)
    right = xp.cumulative_sum(xp.astype(correctness(pred), xp.int64), axis=0)  # right exits up to k, (E, N)
    return xp.mean(xp.astype(right > 0, xp.float64), axis=1)


def cumulative_accuracy(pred: ExitPredictions) -> float:
    """Return the share of samples that some exit classifies correctly.

    It is what a perfect choice among the exits would reach, so it is never below the best exit's accuracy.

    Args:
        pred: predictions of all exits on one split.

    Returns:
        A fraction.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 5 (overthinking).
    """
    return float(correct_so_far(pred)[-1])


def at_chance(pred: ExitPredictions, split: str) -> str | None:
    """Return a warning where the final exit is not clearly better than always answering the most frequent class.

    Exits of a network that has learned nothing cost nothing in accuracy, so that any promise holds for them.

    Args:
        pred: predictions of all exits on one split.
        split: its name, for the warning.

    Returns:
        A sentence, or None: the exact binomial test of "no better" at level .01 refuses that.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - `predict` shows tables where there is no SciPy

    counts = np.bincount(to_numpy(pred.labels).astype(np.int64))
    right = int(to_numpy(correctness(pred))[-1].sum())
    most = float(counts.max(initial=0)) / pred.samples
    if binomtest(right, pred.samples, min(most, 1.0), alternative="greater").pvalue <= CHANCE_LEVEL:
        return None
    return (
        f"The final exit is right about {100 * right / pred.samples:.1f} % of {split}, not clearly better than always "
        f"answering the most frequent class ({100 * most:.1f} %): figures and promises of such a network say nothing."
    )
