"""Per-exit thresholds that trade a reward against cost, by a dynamic programme fitted to one split.

From the last exit back, each exit compares what stopping there is worth with what going on is worth, both as rising
functions of the signal there. A price on cost decides how much going on must be worth; raising it from nothing walks
from the best answers to the cheapest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from shallowdeep.exits.policy import NEVER

MOST_LEVELS = 512  # of a signal; finer ones cost time and tell nothing
PRICES = tuple(np.geomspace(1e-2, 5, 36).tolist())  # reward for one backbone of cost
BETWEEN = 5  # steps from one price's thresholds to the next one's
FITS_AVERAGED = 8  # fits averaged: one alone follows the accidents of a small split

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Exit:
    """One exit's signal in levels.

    Args:
        values: (L,) rising, the least signal of each level.
        level: (N,) integers in [0, L), the samples' levels.
    """

    values: Floats
    level: NDArray[np.int64]

    def rising_fit(self, wanted: Floats, weights: Floats) -> Floats:
        """Return the rising function of the level nearest to ``wanted`` (N,) in weighted squares, (L,)."""
        mass = np.bincount(self.level, weights, len(self.values))
        means = np.bincount(self.level, weights * wanted, len(self.values)) / mass
        fitted: Floats = isotonic_regression(means, weights=mass).x
        return fitted


def price_path(
    confidence: ArrayLike, rewards: ArrayLike, costs: ArrayLike, prices: ArrayLike = PRICES, *, seed: int = 0
) -> Floats:
    """Return a row of thresholds for each price on cost, and rows between neighbours.

    ``V_{E-1}(s) = a_{E-1}(s)``; at exit k, with ``f_k(s) = E[V_{k+1} | s_k = s] - price·(c_{k+1} - c_k)``, stop where
    ``a_k(s) >= f_k(s)``: a and E[V | s] are rising (isotonic) fits, and the threshold is the one that gains most by it
    on the split. Fitted to randomly weighted copies of the split, the thresholds are averaged by rank, which keeps
    1,700 samples from being followed too closely.

    Args:
        confidence: (E, N) floating, the signal at every exit, larger = surer; E >= 2.
        rewards: (E, N) what answering at an exit is worth, such as 1 where it is right.
        costs: (E,) rising, relative.
        prices: (P,) rising, at least 0.
        seed: of the weights.

    Returns:
        (M, E-1) float64, from dear to cheap: values the signal takes at that exit, or `NEVER`. Prices reach corners of
        the convex hull alone, so M = 5·(P-1) + 1: thresholds even in rank stand between neighbours.

    Source: Longstaff and Schwartz, "Valuing American options by simulation", 2001 (regression instead of the binned
    transitions of docs/methods.md: as good on held-out samples, with no number of bins to choose); Rubin, "The Bayesian
    bootstrap", 1981 (the weights).
    """
    signal = _floats(confidence)
    worth = _floats(rewards)
    rates: Floats = np.outer(_floats(prices), np.diff(_floats(costs)))  # (P, E-1)
    exits = [_in_levels(signal[k, :]) for k in range(len(signal))]
    generator = np.random.Generator(np.random.PCG64(seed))
    ranks = np.zeros(rates.shape)
    for _ in range(FITS_AVERAGED):
        weights = generator.standard_exponential((signal.shape[1],))
        fits = [exit_.rising_fit(worth[k, :], weights)[exit_.level] for k, exit_ in enumerate(exits)]
        ranks += [_cuts(exits, fits, rates[p, :], weights) for p in range(len(rates))]
    steps = np.arange(BETWEEN * (len(ranks) - 1) + 1) / BETWEEN
    columns = []
    for exit_, column in zip(exits, ranks.T / FITS_AVERAGED, strict=False):
        between = np.interp(steps, np.arange(len(ranks)), column)
        columns.append(np.append(exit_.values, NEVER)[np.rint(between).astype(np.int64)])
    return np.stack(columns, axis=1)


def _cuts(exits: list[_Exit], fits: list[Floats], steps: Floats, weights: Floats) -> list[int]:
    """Return the first level to stop at for exits 0 … E-2; one past the last level for none.

    Args:
        exits: E of them.
        fits: E times (N,), worth of stopping there.
        steps: (E-1,) price of going on by one exit.
        weights: (N,) of the samples.
    """
    value = fits[-1]  # (N,), of being at the next exit
    cuts: list[int] = []
    for k in range(len(exits) - 2, -1, -1):
        exit_ = exits[k]
        onward = exit_.rising_fit(value, weights)[exit_.level] - steps[k]
        gain = np.bincount(exit_.level, weights * (fits[k] - onward), len(exit_.values))
        by_cut = np.append(np.cumsum(gain[::-1])[::-1], 0.0)  # of stopping at this level and all above
        cut = len(by_cut) - 1 - int(by_cut[::-1].argmax())  # of equal ones the highest: exit less
        value = np.where(exit_.level >= cut, fits[k], onward)
        cuts.append(cut)
    return cuts[::-1]


def _in_levels(signal: Floats) -> _Exit:
    """Return an exit's signal (N,) in at most MOST_LEVELS levels of about as many samples; equal values share one."""
    quantiles = np.quantile(signal, np.arange(MOST_LEVELS) / MOST_LEVELS, method="inverted_cdf")
    values = np.unique(quantiles if signal.size > MOST_LEVELS else signal)
    return _Exit(values, np.searchsorted(values, signal, side="right") - 1)


def _floats(values: ArrayLike) -> Floats:
    """Return values as a float64 array of any shape."""
    array: Floats = np.asarray(values, dtype=np.float64)
    return array
