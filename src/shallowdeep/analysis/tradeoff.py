"""Accuracy against cost as the confidence threshold moves, and the threshold to take for a wish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import max_probability

Floats = NDArray[np.float64]

_QUANTILES = 200  # steps of half a per cent of the confidences seen
_ROUNDING = 1e-12  # means of N counts differ in their last bits from limits such as 0.25 or 0.92 - 0.01


@dataclass(frozen=True, eq=False)
class Curve:
    """What each threshold does on one split; small NumPy arrays on the host whatever the predictions were.

    Args:
        thresholds: (T,) float64, rising.
        accuracy: (T,) float64, share answered correctly.
        relative_cost: (T,) float64, mean cost relative to the backbone; never falls as the threshold rises.
        exit_shares: (T, E) float64, share that stops at each exit; rows add up to 1.
    """

    thresholds: Floats
    accuracy: Floats
    relative_cost: Floats
    exit_shares: Floats


def default_thresholds(pred: ExitPredictions) -> Floats:
    """Return thresholds that cover the whole curve evenly: quantiles of the early exits' confidence.

    Evenly spaced thresholds would miss most of the curve, since confidences crowd near 1. Added are 0 (all leave at the
    first exit) and the float32 just above 1 (all reach the last).

    Args:
        pred: the predictions thresholds are chosen on, so never the test split's.

    Returns:
        (T,) float64, rising, all different, each exact in float32; 2 <= T <= 203.
    """
    confidence = to_numpy(max_probability(pred.logits[:-1, :, :]))  # the last exit's decides nothing
    ends = np.asarray([0.0, np.nextafter(np.float32(1), np.float32(2))])
    if confidence.size == 0:
        return ends
    quantiles = np.quantile(confidence, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf")
    return np.unique(np.concatenate([ends, quantiles.astype(np.float64)]))


def threshold_curve(pred: ExitPredictions, thresholds: Sequence[float] | NDArray[Any] | None = None) -> Curve:
    """Return accuracy, cost and exit shares of ``first_confident_exit`` for every threshold at once.

    A sample has left by exit k when its highest confidence up to k reaches the threshold. So with these running maxima
    sorted, one binary search per exit and threshold counts who left, and the right answers among them are a
    difference of cumulative sums: O(E·(N + T)·log N), where trying each threshold costs O(T·E·N).

    Args:
        pred: predictions of all exits on one split.
        thresholds: T values, each at least 0, in any order; ``default_thresholds(pred)`` when None.

    Returns:
        The curve, thresholds in rising order.

    Raises:
        ConfigurationError: no threshold, or one that is negative or not a number.
    """
    settings = np.sort(default_thresholds(pred) if thresholds is None else np.asarray(thresholds, dtype=np.float64))
    if settings.ndim != 1 or settings.size == 0 or not np.all(settings >= 0):
        raise ConfigurationError(f"Expected one or more thresholds of at least 0, got {thresholds}")
    confidence = to_numpy(max_probability(pred.logits))
    limits = settings.astype(confidence.dtype)  # the comparison the policy makes
    surest = np.maximum.accumulate(confidence, axis=0)  # (E, N)
    surest[-1] = np.inf  # at the last exit everybody stops
    right = to_numpy(correctness(pred))

    left = np.zeros((settings.size, pred.exits + 1), dtype=np.int64)  # how many stopped before exit k
    hits = np.zeros(settings.size, dtype=np.int64)
    for k in range(pred.exits):
        left[:, k + 1] = _count_reaching(surest[k], np.ones(pred.samples, dtype=bool), limits)
        hits += _count_reaching(surest[k], right[k], limits)
        if k:  # those who had stopped before are not answered here
            hits -= _count_reaching(surest[k - 1], right[k], limits)
    shares = np.diff(left, axis=1) / pred.samples
    costs = to_numpy(pred.costs).astype(np.float64)
    return Curve(settings, hits / pred.samples, shares @ costs, shares)


def _count_reaching(values: NDArray[Any], counted: NDArray[np.bool_], limits: NDArray[Any]) -> NDArray[np.int64]:
    """Return, for each limit, how many of the counted samples have a value at or above it.

    Args:
        values: (N,) floating.
        counted: (N,) which samples to count.
        limits: (T,) of the dtype of ``values``.

    Returns:
        (T,) counts.
    """
    chosen = np.sort(values[counted])
    return chosen.size - np.searchsorted(chosen, limits, side="left")


def choose_threshold(tune_curve: Curve, max_relative_cost: float) -> float | None:
    """Return the most accurate threshold among those cheap enough.

    Args:
        tune_curve: the curve on the split thresholds are chosen on.
        max_relative_cost: highest mean cost allowed, relative to the backbone.

    Returns:
        The threshold, of equally accurate ones the cheapest; None where every one costs more.

    Raises:
        ConfigurationError: the cost is not above 0.
    """
    if not max_relative_cost > 0:  # also true of nan
        raise ConfigurationError(f"Expected a relative cost above 0, got {max_relative_cost}")
    allowed = tune_curve.relative_cost <= max_relative_cost + _ROUNDING
    return _first(tune_curve, allowed, (-tune_curve.accuracy, tune_curve.relative_cost))


def cheapest_within(tune_curve: Curve, accuracy_loss: float, reference_accuracy: float) -> float | None:
    """Return the cheapest threshold that loses at most so much accuracy.

    Args:
        tune_curve: the curve on the split thresholds are chosen on.
        accuracy_loss: largest loss allowed, as a fraction (0.01 is one point); below 0 asks for a gain.
        reference_accuracy: what the loss is counted from, on the same split: usually the final exit's accuracy.

    Returns:
        The threshold, of equally cheap ones the most accurate; None where every one loses more.

    Raises:
        ConfigurationError: the loss is not a number.
    """
    if np.isnan(accuracy_loss):
        raise ConfigurationError(f"Expected an accuracy loss as a fraction, got {accuracy_loss}")
    allowed = tune_curve.accuracy >= reference_accuracy - accuracy_loss - _ROUNDING
    return _first(tune_curve, allowed, (tune_curve.relative_cost, -tune_curve.accuracy))


def _first(curve: Curve, allowed: NDArray[np.bool_], keys: tuple[Floats, Floats]) -> float | None:
    """Return the allowed threshold with the smallest first key, then second key, then threshold; None if none."""
    order = np.lexsort((curve.thresholds, keys[1], keys[0]))
    chosen = order[allowed[order]]
    return float(curve.thresholds[chosen[0]]) if chosen.size else None
