"""Tests of risk: against slow loops and exact numbers, and that they err as rarely as they say."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom

from shallowdeep.calibration.risk import (
    RISKS,
    betting_p_value,
    betting_p_values,
    binomial_p_value,
    last_passing,
    least_loss,
    p_values,
    samples_needed,
)
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError

EPS, DELTA = 0.01, 0.05


def draws(count: int, samples: int, gap: float, disagreement: float, seed: int = 0) -> NDArray[np.int8]:
    """Losses (count, samples) of mean ``gap``, a share ``disagreement`` of them not 0."""
    uniform = np.random.default_rng(seed).random((count, samples))
    worse, better = (disagreement + gap) / 2, (disagreement - gap) / 2
    losses: NDArray[np.int8] = (uniform < worse).astype(np.int8) - (uniform > 1 - better).astype(np.int8)
    return losses


def slow_p_value(losses: list[int], eps: float, delta: float) -> float:
    """The same game, one sample at a time."""
    samples = len(losses)
    changes = {i * samples // 200 for i in range(200)}
    wealth = richest = 1.0
    stake = 0.0
    for i, loss in enumerate(losses):
        if i in changes:
            before = losses[:i]
            squares = 30 * 3 * eps + sum(x * x for x in before) - (sum(before) ** 2 / i if i else 0.0)
            variance = squares / (30 + i)
            goal = 1 / delta
            while richest >= goal:
                goal /= delta
            d = float(ndtri(wealth / goal))
            density = np.exp(-d * d / 2) / sqrt(2 * pi)
            stake = min(density * goal / wealth / sqrt((samples - i) * variance), 0.9 / (1 - eps))
        wealth *= 1 + stake * (eps - loss)
        richest = max(richest, wealth)
    return 1 / richest


@pytest.mark.parametrize(("samples", "gap", "disagreement"), [(150, 0.0, 0.1), (700, -0.01, 0.05), (1501, 0.0, 0.01)])
def test_betting_agrees_with_a_slow_loop(samples: int, gap: float, disagreement: float) -> None:
    """Many settings at once give what one sample at a time gives."""
    losses = draws(6, samples, gap, disagreement)
    expected = [slow_p_value(row, 0.02, DELTA) for row in losses.tolist()]
    assert betting_p_values(losses, 0.02, DELTA) == pytest.approx(expected, rel=1e-9)


def test_betting_looks_in_seeded_order() -> None:
    """One setting is shuffled by the seed; another seed gives another, equally valid, p-value."""
    losses = draws(1, 500, 0.0, 0.05)[0]
    shuffled = losses[seeded_order(500, 7)]
    assert betting_p_value(losses, EPS, DELTA, 7) == betting_p_values(shuffled[None], EPS, DELTA)[0]
    assert betting_p_value(losses, EPS, DELTA, 7) != betting_p_value(losses, EPS, DELTA, 8)


@pytest.mark.parametrize(("samples", "disagreement"), [(400, 0.012), (3333, 0.01), (3333, 0.04), (3333, 0.3)])
def test_a_risk_above_eps_seldom_passes(samples: int, disagreement: float) -> None:
    """At a true gap of eps, the worst there is, at most delta of the draws pass (three standard errors allowed)."""
    count = 2000
    passed = (betting_p_values(draws(count, samples, EPS, disagreement), EPS, DELTA) <= DELTA).mean()
    assert passed <= DELTA + 3 * sqrt(DELTA * (1 - DELTA) / count)


@pytest.mark.parametrize(
    ("samples", "gap", "disagreement", "at_least"),
    [(3333, 0.0, 0.04, 0.79), (3333, 0.002, 0.018, 0.85), (5000, 0.0, 0.04, 0.90), (5000, 0.002, 0.018, 0.96)],
)
def test_betting_passes_at_least_as_often_as_the_plain_stakes(
    samples: int, gap: float, disagreement: float, at_least: float
) -> None:
    """Pass rates of the published stakes, computed once: those of stakes that do not look at the wealth."""
    passed = (betting_p_values(draws(1000, samples, gap, disagreement), EPS, DELTA) <= DELTA).mean()
    assert passed >= at_least


def test_the_binomial_test_is_exact() -> None:
    """The p-value is the binomial distribution function."""
    losses = np.zeros(1000, dtype=int)
    losses[:4] = 1
    assert binomial_p_value(losses, EPS) == pytest.approx(binom.cdf(4, 1000, EPS))
    assert binomial_p_value(losses, EPS) <= DELTA  # n = 1000 admits R = .4 %
    losses[4] = 1
    assert binomial_p_value(losses, EPS) > DELTA


def test_sizes_needed() -> None:
    """299 samples without a loss for eps 1 %, delta .05; betting needs a few more; one fewer fails."""
    assert samples_needed("disagreement", EPS, DELTA) == 299
    assert samples_needed("accuracy-gap", EPS, DELTA) == 356
    for risk in RISKS:
        for eps, delta in ((0.01, 0.05), (0.05, 0.1), (0.3, 0.5)):
            needed = samples_needed(risk, eps, delta)
            assert p_values(risk, np.zeros((1, needed)), eps, delta)[0] <= delta
            assert needed == 1 or p_values(risk, np.zeros((1, needed - 1)), eps, delta)[0] > delta
    assert samples_needed("disagreement", EPS, DELTA) >= log(DELTA) / log(1 - EPS)


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("samples", [20, 300, 3333])
def test_the_least_loss_is_the_first_that_the_samples_suffice_for(risk: str, samples: int) -> None:
    """In steps of .001; one step less needs more samples."""
    least = least_loss(risk, samples, DELTA)
    assert least is not None
    assert samples_needed(risk, least, DELTA) <= samples
    assert least == 0.001 or samples_needed(risk, least - 0.001, DELTA) > samples


def test_no_samples_promise_nothing() -> None:
    """Without samples there is no least loss."""
    assert least_loss("disagreement", 0, DELTA) is None


@pytest.mark.parametrize(
    ("values", "last"),
    [([0.01, 0.02, 0.2, 0.0], 1), ([0.2, 0.0], None), ([0.05], 0), ([0.0, 0.0], 1), ([], None), ([float("nan")], None)],
)
def test_the_walk_ends_before_the_first_failure(values: list[float], last: int | None) -> None:
    """Settings behind one that failed are not looked at, however well they do."""
    assert last_passing(values, DELTA) == last


def test_bad_input_is_refused() -> None:
    """Levels out of range, other losses and other shapes are told."""
    for eps, delta in ((0.0, 0.05), (1.0, 0.05), (float("nan"), 0.05), (0.01, 0.0), (0.01, 1.0)):
        with pytest.raises(ConfigurationError, match="in \\(0, 1\\)"):
            betting_p_value([0, 1], eps, delta, 0)
    with pytest.raises(DataError, match="Expected losses in"):
        binomial_p_value([0, -1], EPS)
    with pytest.raises(DataError, match="Expected losses in"):
        betting_p_value([0, 2], EPS, DELTA, 0)
    for losses in ([[0]], []):
        with pytest.raises(DataError, match="shape"):
            betting_p_value(losses, EPS, DELTA, 0)
    with pytest.raises(DataError, match="shape"):
        binomial_p_value([[0]], EPS)
    with pytest.raises(UnknownNameError, match="risk"):
        p_values("hinge", [[0]], EPS, DELTA)
