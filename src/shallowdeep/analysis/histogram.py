"""Histograms of several groups of values over the same bins, so that they can be laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 40
_OUTERMOST = 0.001  # share of all values beyond each end, counted in the outermost bins


@dataclass(frozen=True)
class Histogram:
    """Counts of several groups of values.

    Attributes:
        edges: `BINS` + 1 of the bins, rising, in the unit of the values.
        counts: for each group, how many of its values lie in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]


def shared_histograms(groups: Sequence[NDArray[np.float64]]) -> Histogram:
    """Return the histograms of some groups, over bins of equal width that all of them share.

    Every value is counted: the few beyond the ends are in the outermost bins.

    Args:
        groups: (n,) floating each, of different samples; one may be empty, not all.
    """
    low, high = np.quantile(np.concatenate(groups), [_OUTERMOST, 1 - _OUTERMOST])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = (np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in groups)
    return Histogram(tuple(edges.tolist()), tuple(tuple(count.tolist()) for count in counts))
