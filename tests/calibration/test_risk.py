"""Tests of risk: against slow loops and exact numbers, and that they err as rarely as they say."""

from __future__ import annotations

from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binom, multinomial

from shallowdeep.calibration.gap_test import gap_p_value
from shallowdeep.calibration.risk import (
    RISKS,
    binomial_p_value,
    gap_p_values,
    last_passing,
    least_loss,
    p_values,
    samples_needed,
)
from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError

EPS, DELTA = 0.01, 0.05


def probabilities(samples: int, gap: float, changed: float, most: int) -> NDArray[np.float64]:
    """Probability of each (worse, better) up to ``most`` of both; the mean is ``gap``, ``changed`` are not 0."""
    shares = [(changed + gap) / 2, (changed - gap) / 2, 1 - changed]
    counts = np.stack(np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij"), axis=-1)
    rest = samples - counts.sum(axis=-1, keepdims=True)
    found: NDArray[np.float64] = multinomial(samples, shares).pmf(np.concatenate([counts, rest], axis=-1))
    return found


def losses(worse: int, better: int, samples: int) -> NDArray[np.int8]:
    """Losses (1, samples): so many are 1, so many -1."""
    values = np.zeros((1, samples), dtype=np.int8)
    values[0, :worse], values[0, worse : worse + better] = 1, -1
    return values


def passing_share(samples: int, gap: float, changed: float, eps: float, *, most: int) -> float:
    """The exact probability that the gap's test passes: summed over all outcomes."""
    weights = probabilities(samples, gap, changed, most)
    passed = 0.0
    for worse, better in zip(*np.nonzero(weights > 1e-9), strict=True):
        if gap_p_value(int(worse), int(better), samples, eps, DELTA) <= DELTA:
            passed += float(weights[worse, better])
    return passed


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (0, 2), (1, 0), (1, 3), (3, 1), (4, 4), (12, 0)])
def test_the_gap_s_p_value_is_the_largest_over_plausible_shares(worse: int, better: int) -> None:
    """Against all outcomes of 12 samples, their probabilities summed for 2,000 shares of losses that are not 0."""
    samples, eps, missed = 12, 0.1, 0.02 * DELTA
    changed = worse + better
    most = 1.0 if changed == samples else float(beta.ppf(1 - missed, changed + 1, samples - changed))
    up, down = np.meshgrid(np.arange(samples + 1), np.arange(samples + 1), indexing="ij")
    bound = up - down + 1.645 * np.sqrt(up + down + 1)
    seen = bound[worse, better]
    each = [
        float(probabilities(samples, eps, share, samples)[(bound <= seen + 1e-9) & (up + down <= samples)].sum())
        for share in np.linspace(eps, min(most, 1 - 1e-9), 2000)
    ]
    assert gap_p_value(worse, better, samples, eps, DELTA) == pytest.approx(min(1.0, max(each) + missed), abs=2e-5)


@pytest.mark.parametrize(
    ("samples", "changed", "most"), [(400, 0.01, 30), (400, 0.012, 30), (400, 0.05, 60), (1000, 0.03, 80)]
)
def test_a_gap_above_eps_passes_as_rarely_as_it_says(samples: int, changed: float, most: int) -> None:
    """At a true gap of eps, the worst there is, the exact probability of passing is at most delta, not far below."""
    share = passing_share(samples, EPS, changed, EPS, most=most)
    assert DELTA / 4 < share <= DELTA


@pytest.mark.parametrize(
    ("samples", "gap", "changed", "eps", "at_least"),
    [(267, 0.0, 0.01, 0.02, 0.8), (400, 0.0, 0.01, 0.01, 0.45), (1000, 0.002, 0.01, 0.01, 0.68)],
)
def test_a_small_gap_passes_often(samples: int, gap: float, changed: float, eps: float, at_least: float) -> None:
    """Where a test by betting passes 42, 22 and 52 % of draws."""
    assert passing_share(samples, gap, changed, eps, most=40) >= at_least


def test_what_passes_at_one_eps_passes_at_every_larger_one() -> None:
    """P-values of both tests fall as eps rises, so a looser promise admits what a stricter one does."""
    steps = np.linspace(0.005, 0.2, 40)
    for worse, better, samples in ((0, 0, 300), (3, 1, 400), (9, 14, 800), (40, 30, 3333), (5, 0, 60)):
        values = [gap_p_value(worse, better, samples, float(eps), DELTA) for eps in steps]
        assert all(after <= before + 1e-12 for before, after in pairwise(values))
        values = [binomial_p_value(np.abs(losses(worse, better, samples)[0]), float(eps)) for eps in steps]
        assert all(after <= before for before, after in pairwise(values))


def test_many_settings_give_what_each_gives() -> None:
    """Losses are counted in each row, whatever their order."""
    rows = np.concatenate([losses(2, 1, 500), losses(0, 4, 500)[:, ::-1]])
    expected = [gap_p_value(2, 1, 500, EPS, DELTA), gap_p_value(0, 4, 500, EPS, DELTA)]
    assert gap_p_values(rows, EPS, DELTA).tolist() == expected


def test_the_binomial_test_is_exact() -> None:
    """The p-value is the binomial distribution function."""
    losses = np.zeros(1000, dtype=int)
    losses[:4] = 1
    assert binomial_p_value(losses, EPS) == pytest.approx(binom.cdf(4, 1000, EPS))
    assert binomial_p_value(losses, EPS) <= DELTA  # n = 1000 admits R = .4 %
    losses[4] = 1
    assert binomial_p_value(losses, EPS) > DELTA


def test_sizes_needed() -> None:
    """299 samples without a loss for eps 1 %, delta .05; the signed gap takes a few more; one fewer fails."""
    assert samples_needed("disagreement", EPS, DELTA) == 299
    assert samples_needed("accuracy-gap", EPS, DELTA) == 301
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
            gap_p_values([[0, 1]], eps, delta)
    with pytest.raises(DataError, match="Expected losses in"):
        binomial_p_value([0, -1], EPS)
    with pytest.raises(DataError, match="Expected losses in"):
        gap_p_values([[0, 2]], EPS, DELTA)
    shapes: list[list[Any]] = [[0], [[]]]
    for values in shapes:
        with pytest.raises(DataError, match="shape"):
            gap_p_values(values, EPS, DELTA)
    with pytest.raises(DataError, match="shape"):
        binomial_p_value([[0]], EPS)
    with pytest.raises(UnknownNameError, match="risk"):
        p_values("hinge", [[0]], EPS, DELTA)
