"""The threshold curve against slow loops, and the choices made on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import Array
from shallowdeep.exits.outcome import summarize
from shallowdeep.exits.policy import FALLBACKS, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import SIGNALS, max_probability
from shallowdeep.exits.threshold_curve import (
    ThresholdCurve,
    cheapest_within,
    choose_threshold,
    default_thresholds,
    threshold_curve,
)

LIBRARIES = [np.asarray, torch.asarray]


def random_predictions(
    seed: int, exits: int = 4, samples: int = 60, asarray: Callable[..., Array] = np.asarray
) -> ExitPredictions:
    """Logits on a coarse grid, so that confidences tie and thresholds fall on them."""
    rng = np.random.default_rng(seed)
    logits = np.float32(rng.integers(-3, 4, size=(exits, samples, 3)))
    labels = rng.integers(0, 3, samples)
    return ExitPredictions(asarray(logits), asarray(labels), asarray(np.linspace(0.2, 1.02, exits)))


def slow_point(pred: ExitPredictions, threshold: float) -> tuple[float, float, list[float]]:
    """Walk sample by sample: accuracy, mean cost, shares."""
    right, cost, counts = 0, 0.0, [0] * pred.exits
    confidence = max_probability(pred.logits)
    for n in range(pred.samples):
        k = 0
        while k < pred.exits - 1 and confidence[k, n] < np.float32(threshold):
            k += 1
        right += int(np.argmax(pred.logits[k, n]) == pred.labels[n])
        cost += float(pred.costs[k])
        counts[k] += 1
    return right / pred.samples, cost / pred.samples, [count / pred.samples for count in counts]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), exits=st.integers(1, 5), samples=st.integers(1, 30))
def test_curve_agrees_with_a_slow_loop(seed: int, exits: int, samples: int) -> None:
    """Every threshold's accuracy, cost and shares are those of walking sample by sample."""
    pred = random_predictions(seed, exits, samples)
    curve = threshold_curve(pred, [0.9, 0.0, 0.5, 1.0, 2.0, *default_thresholds(pred)[::9]])
    assert np.all(np.diff(curve.thresholds) >= 0)
    for t, threshold in enumerate(curve.thresholds):
        accuracy, cost, shares = slow_point(pred, threshold)
        assert curve.accuracy[t] == accuracy
        assert curve.relative_cost[t] == pytest.approx(cost)
        assert curve.exit_shares[t].tolist() == pytest.approx(shares)


@pytest.mark.parametrize("asarray", LIBRARIES)
@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("fallback", FALLBACKS)
def test_curve_agrees_with_the_policy(asarray: Callable[..., Array], signal: str, fallback: str) -> None:
    """The curve is what the policy does at each threshold, for both libraries, any signal and fallback."""
    pred = random_predictions(7, asarray=asarray)
    base = Policy((None,) * 3, signal, fallback)
    curve = threshold_curve(pred, base=base)
    for t, threshold in enumerate(curve.thresholds):
        point = summarize(shared_threshold(float(threshold), 4, signal=signal, fallback=fallback), pred)
        assert curve.accuracy[t] == point.accuracy
        assert curve.relative_cost[t] == pytest.approx(point.relative_cost)
        assert curve.exit_shares[t].tolist() == pytest.approx(list(point.exit_shares))


def test_the_grid_spans_from_first_to_last_exit() -> None:
    """At its ends all samples stop at the first and at the last exit, and cost never falls between."""
    pred = random_predictions(3)
    curve = threshold_curve(pred)
    assert curve.exit_shares[0].tolist() == [1, 0, 0, 0]
    assert curve.exit_shares[-1].tolist() == [0, 0, 0, 1]
    assert np.all(np.diff(curve.relative_cost) >= -1e-12)
    assert np.all(np.diff(curve.thresholds) > 0)
    assert np.all(curve.thresholds == curve.thresholds.astype(np.float32))


def test_the_grid_is_as_fine_as_the_confidences() -> None:
    """With many samples no step of the grid moves more than one exit's worth of a few per cent."""
    logits = np.float32(np.random.default_rng(0).normal(size=(3, 4000, 10)) * 8)  # nearly all confidences near 1
    pred = ExitPredictions(logits, np.zeros(4000, np.int64), np.array([0.3, 0.6, 1.0]))
    assert np.diff(threshold_curve(pred).relative_cost).max() < 0.02


def test_a_backbone_alone_has_a_flat_curve() -> None:
    """With one exit every threshold is the same: all samples, full cost."""
    pred = random_predictions(1, exits=1)
    curve = threshold_curve(pred)
    assert len(curve.thresholds) == 2
    assert curve.exit_shares.tolist() == [[1.0], [1.0]]
    assert curve.accuracy[0] == curve.accuracy[1]


@pytest.mark.parametrize("thresholds", [[], [-1.0, 0.5], [float("nan")], [[0.5]]])
def test_refuses_senseless_thresholds(thresholds: Array) -> None:
    """None, negative, not a number, or a table of them."""
    with pytest.raises(ConfigurationError, match="Expected one or more thresholds"):
        threshold_curve(random_predictions(0), thresholds)


CURVE = ThresholdCurve(
    thresholds=np.array([0.0, 0.5, 0.6, 0.9, 1.1]),
    accuracy=np.array([0.60, 0.80, 0.91, 0.91, 0.92]),
    relative_cost=np.array([0.15, 0.25, 0.50, 0.70, 1.02]),
    exit_shares=np.zeros((5, 2)),
)


@pytest.mark.parametrize(("budget", "expected"), [(0.1, None), (0.25, 0.5), (0.49, 0.5), (0.75, 0.6), (2.0, 1.1)])
def test_the_most_accurate_within_a_budget(budget: float, expected: float | None) -> None:
    """The limit itself is allowed, and of equally accurate thresholds the cheapest is taken."""
    assert choose_threshold(CURVE, budget) == expected


@pytest.mark.parametrize(("loss", "expected"), [(0.0, 1.1), (0.01, 0.6), (0.12, 0.5), (1.0, 0.0), (-0.01, None)])
def test_the_cheapest_within_a_loss(loss: float, expected: float | None) -> None:
    """A loss of exactly the limit is allowed, though 0.92 - 0.01 is not 0.91 in floating point."""
    assert cheapest_within(CURVE, loss, reference_accuracy=0.92) == expected


def test_refuses_senseless_objectives() -> None:
    """A budget must be above 0 and a loss a number."""
    with pytest.raises(ConfigurationError, match="Expected a relative cost above 0, got 0"):
        choose_threshold(CURVE, 0)
    with pytest.raises(ConfigurationError, match="Expected an accuracy loss as a fraction, got nan"):
        cheapest_within(CURVE, float("nan"), 0.9)
