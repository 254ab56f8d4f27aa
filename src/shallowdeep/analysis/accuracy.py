"""How often each exit is right, and how often some exit is."""

from __future__ import annotations

from array_api_compat import array_namespace

from shallowdeep.exits.arrays import Array
from shallowdeep.exits.predictions import ExitPredictions


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
