"""Tests of "the risk is above eps" that hold for any number of samples, and which settings to believe.

Losses are counted against the network's own final exit, one for each sample of ``certify``:
``accuracy-gap`` is ``1[wrong where it stopped] - 1[wrong at the final exit]`` in {-1, 0, 1}, ``disagreement`` is
``1[another answer than the final exit's]`` in {0, 1}. Samples must be independent and from one distribution.

Source: Jazbec et al., "Fast yet Safe: Early-Exiting with Risk Control", NeurIPS 2024 (the risks); Angelopoulos et al.,
"Learn then Test", 2021 (the fixed sequence).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, log, log1p
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from shallowdeep.calibration.gap_test import gap_p_value
from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError

ACCURACY_GAP, DISAGREEMENT = "accuracy-gap", "disagreement"
RISKS = (ACCURACY_GAP, DISAGREEMENT)

LEAST_RISK = 1e-4  # smaller ones would need tens of thousands of samples without a single loss
_LOSS_STEPS = 1000

Floats = NDArray[np.float64]


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


def gap_p_values(losses: ArrayLike, eps: float, delta: float) -> Floats:
    """Return the exact p-values of "the mean loss is above eps" of many settings, see `gap_p_value`.

    Args:
        losses: (M, n) integers in {-1, 0, 1}.
        eps: largest mean loss allowed, in (0, 1).
        delta: level that the test will be held against, in (0, 1).

    Returns:
        (M,) in (0, 1].

    Raises:
        ConfigurationError: eps or delta out of range.
        DataError: losses of another shape or with other values.
    """
    _check_levels(eps, delta)
    values = _checked(losses, (-1, 0, 1))
    worse, better = (np.count_nonzero(values == loss, axis=1).tolist() for loss in (1, -1))
    rows = zip(worse, better, strict=True)
    return np.asarray([gap_p_value(up, down, values.shape[1], eps, delta) for up, down in rows], dtype=np.float64)


def p_values(risk: str, losses: ArrayLike, eps: float, delta: float) -> Floats:
    """Return the p-values of a risk's own test, (M,), for losses (M, n); they fall as eps rises.

    Raises:
        UnknownNameError: no risk is called so.
        ConfigurationError: eps or delta out of range.
        DataError: losses of another shape or with other values.
    """
    if risk not in RISKS:
        raise UnknownNameError("risk", risk, RISKS)
    return gap_p_values(losses, eps, delta) if risk == ACCURACY_GAP else binomial_p_values(losses, eps)


def samples_needed(risk: str, eps: float, delta: float) -> int:
    """Return the least number of samples on which even a setting without any loss passes.

    ``ceil(ln delta / ln(1-eps))`` for 0/1 losses; for the signed gap a few more, since a little of delta is spent on
    what is not known: found by trying.

    Args:
        risk: one of `RISKS`.
        eps: largest mean loss allowed, in (0, 1).
        delta: level, in (0, 1).

    Raises:
        UnknownNameError: no risk is called so.
        ConfigurationError: eps or delta out of range.
    """
    _check_levels(eps, delta)
    too_few, enough = 0, max(1, ceil(log(delta) / log1p(-eps) - 1e-9))
    while not _flawless_passes(risk, enough, eps, delta):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if _flawless_passes(risk, middle, eps, delta) else (middle, enough)
    return enough


def least_loss(risk: str, samples: int, delta: float) -> float | None:
    """Return the smallest loss, in steps of .001, that ``samples`` can promise; None where not even the largest.

    Args:
        risk: one of `RISKS`.
        samples: how many there are.
        delta: level, in (0, 1).
    """
    if samples < 1:
        return None
    steps = range(1, _LOSS_STEPS)
    place = bisect_left(steps, x=True, key=lambda step: _flawless_passes(risk, samples, step / _LOSS_STEPS, delta))
    return steps[place] / _LOSS_STEPS if place < len(steps) else None


def _flawless_passes(risk: str, samples: int, eps: float, delta: float) -> bool:
    """Whether a setting without any loss passes."""
    return bool(p_values(risk, np.zeros((1, samples), dtype=np.int8), eps, delta)[0] <= delta)


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
