"""What stopping each image where it stops would allow, if it cost nothing besides (no torch)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Ideal(NamedTuple):
    """What the exits taken allow.

    Attributes:
        by_time: speed-up of the static network stopped where each image stops.
        by_macs: the same by multiply-adds.
        relative_cost: mean.
    """

    by_time: float
    by_macs: float
    relative_cost: float


def ideal_speedup(places: ArrayLike, segment_seconds: ArrayLike, costs: ArrayLike, whole_seconds: float) -> Ideal:
    """Return the speed-up of the static network stopped where each image stops.

    Args:
        places: (N,) integers in [0, K), the segment that each image stops after.
        segment_seconds: (K,) of each segment on whole batches.
        costs: (K,) relative cost of stopping after each.
        whole_seconds: of the whole network on whole batches.
    """
    taken = np.asarray(places)
    reached: Floats = np.cumsum(np.asarray(segment_seconds, dtype=np.float64))
    cost = float(np.asarray(costs, dtype=np.float64)[taken].mean())
    return Ideal(float(whole_seconds / reached[taken].mean()), 1 / cost, cost)
