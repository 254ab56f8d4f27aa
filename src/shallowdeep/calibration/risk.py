"""Tests of "the risk is above eps" that hold for any number of samples, and which settings to believe.

Losses are counted against the network's own final exit, one for each sample of ``certify``:
``accuracy-gap`` is ``1[wrong where it stopped] - 1[wrong at the final exit]`` in {-1, 0, 1}, ``disagreement`` is
``1[another answer than the final exit's]`` in {0, 1}. Samples must be independent and from one distribution.

Source: Jazbec et al., "Fast yet Safe: Early-Exiting with Risk Control", NeurIPS 2024 (the risks); Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024 (the test); Angelopoulos et al., "Learn
then Test", 2021 (the fixed sequence). The stakes are our own, see `betting_p_values`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log, log1p, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri

from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError

ACCURACY_GAP, DISAGREEMENT = "accuracy-gap", "disagreement"
RISKS = (ACCURACY_GAP, DISAGREEMENT)

_BETS = 200  # stakes change that often; more often gains less than a tenth of a point of power
_BOLDEST = 0.9  # share of the wealth that one loss may take
_FIRST_VARIANCE = 3.0  # of the losses in units of eps, before any is seen: near the border it is one to ten
_FIRST_WEIGHT = 30  # samples that this guess counts for
LEAST_RISK = 1e-4  # smaller ones would need tens of thousands of samples without a single loss
_LOSS_STEPS = 1000
_POOREST = 1e-12  # share of the goal below which stakes no longer rise

Floats = NDArray[np.float64]


def betting_p_value(losses: ArrayLike, eps: float, delta: float, seed: int) -> float:
    """Return the p-value of "the mean loss is above eps" for signed losses, looked at in seeded random order.

    Args:
        losses: (n,) integers in {-1, 0, 1}.
        eps: largest mean loss allowed, in (0, 1).
        delta: level that the test will be held against, in (0, 1); it shapes the stakes, not the validity.
        seed: of the order; non-negative.

    Returns:
        In (0, 1]; below delta with probability at most delta where the mean is in truth above eps.

    Raises:
        ConfigurationError: eps, delta or seed out of range.
        DataError: losses of another shape or with other values.
    """
    values = np.asarray(losses)
    if values.ndim != 1:
        raise DataError(f"Expected losses of shape (samples,), got {values.shape}")
    return float(betting_p_values(values[None, seeded_order(len(values), seed)], eps, delta)[0])


def betting_p_values(losses: ArrayLike, eps: float, delta: float) -> Floats:
    """Return `betting_p_value` of many settings at once, for losses that are in random order already.

    A gambler who starts with 1 and bets ``s_i`` on "the next loss is below eps" owns
    ``K_t = prod_{i<=t} (1 + s_i·(eps - x_i))``. Where the mean is above eps that game is unfavourable whatever the
    stakes, if only they are in ``[0, 1/(1-eps)]`` and known before ``x_i``; so K ever reaches 1/delta with
    probability at most delta (Ville), and ``p = 1/max_t K_t``.

    The stakes aim at 1/delta exactly, by sample n: were the losses Gaussian with variance v, owning
    ``K = Phi(d)/delta`` with n-i samples to come and betting ``s = phi(d) / (Phi(d)·sqrt((n-i)·v))`` would replicate
    the z-test at level delta, the most powerful there is (a digital option, hedged). v is estimated from the samples
    before, stakes are capped and change 200 times; at 1/delta the gambler sets out for 1/delta². At eps 1 %, delta
    .05, n = 3,333 a gap of 0 at 4 % disagreement passes in 85 % of draws (with stakes of
    ``sqrt(2 ln(1/delta)/(n·v))`` in 75 %), one of .2 % at 1.8 % in 91 % (87 %); at n = 1,000 both are about equal.

    Args:
        losses: (M, n) integers in {-1, 0, 1}; one order of the samples for all M settings.
        eps: largest mean loss allowed, in (0, 1).
        delta: level, in (0, 1).

    Returns:
        (M,) in (0, 1].

    Raises:
        ConfigurationError: eps or delta out of range.
        DataError: losses of another shape or with other values.
    """
    _check_levels(eps, delta)
    values = _checked(losses, (-1, 0, 1))
    settings, samples = values.shape
    bets = np.unique(np.arange(_BETS + 1) * samples // _BETS)  # where stakes change
    wealth = np.zeros(settings)  # ln K
    richest = np.zeros(settings)
    total, unequal = np.zeros(settings, dtype=np.int64), np.zeros(settings, dtype=np.int64)
    for seen, until in pairwise(bets.tolist()):
        squares = _FIRST_WEIGHT * _FIRST_VARIANCE * eps + unequal - total**2 / max(seen, 1)
        variance = squares / (_FIRST_WEIGHT + seen)
        goals = delta ** (1 + np.floor(richest / -log(delta)))  # 1/delta, and once there 1/delta², ...
        stakes = _stakes(np.exp(wealth) * goals, (samples - seen) * variance, eps)
        now = values[:, seen:until]
        gains = np.log1p(stakes[:, None] * (eps - np.asarray([-1, 0, 1])))  # (M, 3)
        walk = wealth[:, None] + np.cumsum(np.take_along_axis(gains, now + 1, axis=1), axis=1)
        richest = np.maximum(richest, walk.max(axis=1))
        wealth = walk[:, -1]
        total += now.sum(axis=1, dtype=np.int64)
        unequal += np.count_nonzero(now, axis=1)
    return np.exp(-richest)


def _stakes(shares: Floats, variance_to_come: Floats, eps: float) -> Floats:
    """Return what to bet: the hedge of a digital option that pays the goal.

    Args:
        shares: (M,) of the goal that the gambler owns.
        variance_to_come: (M,) variance of the sum of all losses still to come.
        eps: largest mean loss allowed.

    Returns:
        (M,) in [0, 0.9/(1-eps)].
    """
    owned = np.clip(shares, _POOREST, 1 - 1e-9)
    d = ndtri(owned)
    hedge = np.exp(-d * d / 2) / (sqrt(2 * pi) * owned * np.sqrt(variance_to_come))
    capped: Floats = np.minimum(hedge, _BOLDEST / (1 - eps))
    return capped


def binomial_p_value(losses: ArrayLike, eps: float) -> float:
    """Return the exact p-value of "the mean loss is above eps" for 0/1 losses, ``BinCDF(sum of losses; n, eps)``.

    Args:
        losses: (n,) integers or bools in {0, 1}.
        eps: largest mean loss allowed, in (0, 1).

    Raises:
        ConfigurationError: eps out of range.
        DataError: losses of another shape or with other values.
    """
    values = np.asarray(losses)
    if values.ndim != 1:
        raise DataError(f"Expected losses of shape (samples,), got {values.shape}")
    return float(binomial_p_values(values[None], eps)[0])


def binomial_p_values(losses: ArrayLike, eps: float) -> Floats:
    """Return `binomial_p_value` of many settings at once.

    Args:
        losses: (M, n) integers or bools in {0, 1}.
        eps: largest mean loss allowed, in (0, 1).

    Returns:
        (M,) in [0, 1].

    Raises:
        ConfigurationError: eps out of range.
        DataError: losses of another shape or with other values.
    """
    _check_levels(eps)
    values = _checked(losses, (0, 1))
    found: Floats = bdtr(values.sum(axis=1, dtype=np.float64), values.shape[1], eps)
    return found


def p_values(risk: str, losses: ArrayLike, eps: float, delta: float) -> Floats:
    """Return the p-values of a risk's own test, (M,), for losses (M, n) in random order.

    Raises:
        UnknownNameError: no risk is called so.
        ConfigurationError: eps or delta out of range.
        DataError: losses of another shape or with other values.
    """
    if risk not in RISKS:
        raise UnknownNameError("risk", risk, RISKS)
    return betting_p_values(losses, eps, delta) if risk == ACCURACY_GAP else binomial_p_values(losses, eps)


def samples_needed(risk: str, eps: float, delta: float) -> int:
    """Return the least number of samples on which even a setting without any loss passes.

    ``ceil(ln delta / ln(1-eps))`` for 0/1 losses; a few more for betting, whose stakes are capped: found by trying.

    Args:
        risk: one of `RISKS`.
        eps: largest mean loss allowed, in (0, 1).
        delta: level, in (0, 1).

    Raises:
        UnknownNameError: no risk is called so.
        ConfigurationError: eps or delta out of range.
    """
    _check_levels(eps, delta)

    def passes(samples: int) -> bool:
        return bool(p_values(risk, np.zeros((1, samples), dtype=np.int8), eps, delta)[0] <= delta)

    too_few, enough = 0, max(1, ceil(log(delta) / log1p(-eps) - 1e-9))
    while not passes(enough):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if passes(middle) else (middle, enough)
    return enough


def least_loss(risk: str, samples: int, delta: float) -> float | None:
    """Return the smallest loss, in steps of .001, that ``samples`` can promise; None where not even the largest.

    Args:
        risk: one of `RISKS`.
        samples: how many there are.
        delta: level, in (0, 1).
    """
    steps = range(1, _LOSS_STEPS)
    place = bisect_left(steps, x=True, key=lambda step: samples_needed(risk, step / _LOSS_STEPS, delta) <= samples)
    return steps[place] / _LOSS_STEPS if place < len(steps) else None


def last_passing(values: Sequence[float] | Floats, delta: float) -> int | None:
    """Return the index of the last setting before the first p-value above delta; None where the first one is.

    Settings stand from safe to bold, in an order that the samples tested had no part in. Each is tested at the full
    level, because the walk ends at the first that fails: fixed-sequence testing.
    """
    failed = np.flatnonzero(~(np.asarray(values, dtype=np.float64) <= delta))
    last = (int(failed[0]) if failed.size else len(values)) - 1
    return None if last < 0 else last


def _check_levels(eps: float, delta: float = 0.5) -> None:
    """Raise ConfigurationError unless both are in (0, 1)."""
    if not 0 < eps < 1:
        raise ConfigurationError(f"Expected a largest risk in (0, 1), got {eps}")
    if not 0 < delta < 1:
        raise ConfigurationError(f"Expected a level in (0, 1), got {delta}")


def _checked(losses: ArrayLike, allowed: tuple[int, ...]) -> NDArray[Any]:
    """Return losses as an array (M, n) with n >= 1, once all have allowed values."""
    values = np.asarray(losses)
    if values.ndim != 2 or values.shape[1] == 0:  # noqa: PLR2004 - settings and samples
        raise DataError(f"Expected losses of shape (settings, samples) with at least one sample, got {values.shape}")
    if not np.isin(values, allowed).all():
        raise DataError(f"Expected losses in {set(allowed)}, got others")
    return values.astype(np.int8)
