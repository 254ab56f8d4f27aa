"""The exact test of "the mean loss is above eps" for losses in {-1, 0, 1}.

Of n independent losses, W are 1, B are -1. What the test is after is the mean; how many losses are not 0, their *share*
d, is a nuisance. For one d the probability of every (W, B) is known, so that a test can be exact; the largest p-value
over all d that are plausible, plus the probability that d is not among them, is a p-value whatever d is.

Source: Berger and Boos, "P values maximized over a confidence set for the nuisance parameter", JASA 1994. The statistic
is our own, see `gap_p_value`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, gammaln, xlog1py, xlogy

IMPLAUSIBLE = 0.02  # share of delta that the interval of d may miss it with: of .01 to .1 none is better everywhere
_Z = 1.645  # standard deviations between the mean and the statistic, a bound on the mean
_RATIO = 1.1  # of neighbouring values of d that are tried
_FINER = 7  # values between these around the worst of them
_WINDOW = 9.0  # standard deviations of the count of losses that are not 0, beyond which they do not happen
_ROUNDING = 1e-9

Floats = NDArray[np.float64]


def gap_p_value(worse: int, better: int, samples: int, eps: float, delta: float) -> float:
    """Return the p-value of "the mean loss is above eps".

    Outcomes are ordered by ``W - B + z·sqrt(W + B + 1)``, an upper bound on the mean in units of 1/n, so that few
    losses that are not 0 count as evidence too. It falls where a 1 becomes a -1. So for every d the probability of an
    outcome at most as high as the one seen falls as the mean rises: the worst case is a mean of eps, and the p-value
    falls as eps rises. A setting that passes at one eps passes at every larger one.

    At eps 1 %, delta .05, n = 3,333 a true mean of 0 with 4 % of losses not 0 passes in 87 % of draws, at n = 267 and
    eps 2 % one of 0 with 1 % in 82 % (a test by betting passes 86 % and 42 %).

    Args:
        worse: how many losses are 1.
        better: how many are -1.
        samples: n, at least 1.
        eps: largest mean loss allowed, in (0, 1).
        delta: level that the test will be held against, in (0, 1); it sets how plausible d must be.

    Returns:
        In (0, 1]; at most delta with probability at most delta where the mean is in truth above eps.
    """
    changed = worse + better
    missed = IMPLAUSIBLE * delta
    most = 1.0 if changed >= samples else float(betaincinv(changed + 1, samples - changed, 1 - missed))
    seen = worse - better + _Z * sqrt(changed + 1)
    probability = _largest(lambda share: _at_most(seen, samples, eps, share), eps, max(eps, most))
    return min(1.0, probability + missed)


def _largest(probability: Callable[[float], float], least: float, most: float) -> float:
    """Return the largest value over shares in [least, most]: on a grid, and on a finer one around the largest there."""
    steps = max(1, ceil(log(most / least) / log(_RATIO)))
    shares = np.geomspace(least, most, steps + 1)
    found = [probability(share) for share in shares.tolist()]
    place = int(np.argmax(found))
    around = np.geomspace(shares[max(place - 1, 0)], shares[min(place + 1, steps)], _FINER + 2)[1:-1]
    return max(*found, *(probability(share) for share in around.tolist()))


def _at_most(seen: float, samples: int, eps: float, share: float) -> float:
    """Return the probability of a statistic of at most ``seen``, where the mean is eps and d is ``share``."""
    middle, reach = samples * share, _WINDOW * (sqrt(samples * share * (1 - share)) + 2)
    changed = np.arange(max(0, int(middle - reach)), min(samples, int(middle + reach)) + 1)
    most_worse = np.floor((seen + changed - _Z * np.sqrt(changed + 1)) / 2 + _ROUNDING)
    possible = most_worse >= 0
    changed, most_worse = changed[possible], np.minimum(most_worse, changed)[possible]
    given_changed = bdtr(most_worse, changed, min(1.0, (1 + eps / share) / 2))
    return float((_binomial(changed, samples, share) * given_changed).sum())


def _binomial(counts: NDArray[np.int64], samples: int, share: float) -> Floats:
    """Return the probability of each of the counts among n samples."""
    ways = gammaln(samples + 1) - gammaln(counts + 1) - gammaln(samples - counts + 1)
    probability: Floats = np.exp(ways + xlogy(counts, share) + xlog1py(samples - counts, -share))
    return probability
