"""Accuracy against cost as one threshold for all exits moves, and the threshold to take for an objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.policy import NEVER, Policy, scan, shared_threshold, stop
from shallowdeep.exits.predictions import ExitPredictions

Floats = NDArray[np.float64]

_QUANTILES = 200  # steps of half a per cent of the confidences seen
_ROUNDING = 1e-12  # means of N counts differ in their last bits from limits such as 0.25 or 0.92 - 0.01


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """What each threshold does on one split; small NumPy arrays on the host whatever the predictions were.

    Attributes:
        thresholds: (T,) float64, rising.
        accuracy: (T,) float64, share answered correctly.
        relative_cost: (T,) float64, mean cost relative to the backbone; never falls as the threshold rises.
        exit_shares: (T, E) float64, share that stops at each exit; rows add up to 1.
    """

    thresholds: Floats
    accuracy: Floats
    relative_cost: Floats
    exit_shares: Floats


def default_thresholds(pred: ExitPredictions, base: Policy | None = None) -> Floats:
    """Return thresholds that cover the whole curve evenly: quantiles of the early exits' confidence.

    Evenly spaced thresholds would miss most of the curve, since confidences crowd near 1. Added are 0 (all leave at the
    first exit) and the float32 just above 1 (all reach the last).

    Args:
        pred: the predictions thresholds are chosen on, so never the test split's.
        base: signal, temperatures and ensemble; its thresholds do not matter. None for max softmax as it is.

    Returns:
        (T,) float64, rising, all different, each exact in float32; 2 <= T <= 203.
    """
    policy = _everywhere(base, NEVER, pred.exits)
    ends = np.asarray([0.0, np.nextafter(np.float32(1), np.float32(2))])
    confidence = scan(policy, to_numpy(pred.logits), pred.costs).confidence[:-1]  # the last exit's decides nothing
    if confidence.size == 0:
        return ends
    quantiles = np.quantile(confidence, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf")
    return np.unique(np.concatenate([ends, quantiles.astype(np.float64)]))


def threshold_curve(
    pred: ExitPredictions, thresholds: Sequence[float] | NDArray[Any] | None = None, base: Policy | None = None
) -> ThresholdCurve:
    """Return accuracy, cost and exit shares of the paper's policy for every threshold.

    Exits are scanned once; each threshold then costs O(E·N).

    Args:
        pred: predictions of all exits on one split.
        thresholds: T values, each at least 0, in any order; ``default_thresholds(pred, base)`` when None.
        base: signal, fallback, temperatures, ensemble and cost limit; its thresholds do not matter. None for max
            softmax, with the final exit as fallback.

    Returns:
        The curve, thresholds in rising order.

    Raises:
        ConfigurationError: no threshold, or one that is negative or not a number.
    """
    wanted = default_thresholds(pred, base) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    settings = np.sort(wanted)
    if settings.ndim != 1 or settings.size == 0 or not np.all(settings >= 0):  # also false for nan
        raise ConfigurationError(f"Expected one or more thresholds of at least 0, got {settings.tolist()}")
    policies = [_everywhere(base, min(float(value), NEVER), pred.exits) for value in settings]
    scanned = scan(policies[0], to_numpy(pred.logits), pred.costs)
    labels, costs = to_numpy(pred.labels), np.asarray(pred.costs)
    accuracy, shares = np.zeros(settings.size), np.zeros((settings.size, pred.exits))
    for row, policy in enumerate(policies):
        decisions = stop(policy, scanned)
        accuracy[row] = np.mean(decisions.labels == labels)
        shares[row] = np.bincount(decisions.exits, minlength=pred.exits) / pred.samples
    return ThresholdCurve(settings, accuracy, shares @ costs, shares)


def choose_threshold(tune_curve: ThresholdCurve, max_relative_cost: float) -> float | None:
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


def cheapest_within(tune_curve: ThresholdCurve, accuracy_loss: float, reference_accuracy: float) -> float | None:
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


def _everywhere(base: Policy | None, threshold: float, exits: int) -> Policy:
    """Return ``base`` with one threshold at every exit."""
    plain = shared_threshold(threshold, exits)
    return plain if base is None else replace(base, thresholds=plain.thresholds)


def _first(curve: ThresholdCurve, allowed: NDArray[np.bool_], keys: tuple[Floats, Floats]) -> float | None:
    """Return the allowed threshold with the smallest first key, then second key, then threshold; None if none."""
    order = np.lexsort((curve.thresholds, keys[1], keys[0]))
    chosen = order[allowed[order]]
    return float(curve.thresholds[chosen[0]]) if chosen.size else None
