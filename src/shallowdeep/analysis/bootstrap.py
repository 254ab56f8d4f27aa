"""Percentile bootstrap intervals: how far a figure would move with other samples from the same source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_CHUNK = 50  # resamples at a time, so that counts take little memory

Floats = NDArray[np.float64]
Interval = tuple[float, float]
"""The lowest and the highest value."""

Intervals = Mapping[str, Interval]
"""By the name of the figure; one that has no interval is left out."""


def interval(values: Floats) -> Interval | None:
    """Return the central 95 % of resampled figures.

    Args:
        values: (R,) one figure a resample; those that are not finite (a resample without errors, say) are left out.

    Returns:
        Low and high, or None where fewer than half of the resamples give a figure.
    """
    finite = values[np.isfinite(values)]
    if not len(values) or 2 * len(finite) < len(values):
        return None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals_of_counts(
    counts: NDArray[np.int64],
    figures: Callable[[Floats], Mapping[str, Floats]],
    resamples: int,
    seed: int = 0,
) -> Intervals:
    """Return intervals of figures that depend on how many samples fall into each cell alone.

    Drawing N samples with replacement is drawing the cells' counts from a multinomial distribution, which is exact and
    costs nothing.

    Args:
        counts: (K,) samples in each cell.
        figures: counts (R, K) to figures (R,) by name.
        resamples: R; 0 for no intervals.
        seed: of the draws; non-negative.

    Returns:
        Intervals by name; a figure that most resamples do not have is left out.
    """
    total = int(counts.sum())
    if not resamples or not total:
        return {}
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)
    found = {name: interval(values) for name, values in figures(drawn.astype(np.float64)).items()}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def weights(samples: int, resamples: int, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield how often each sample is drawn in each resample, a few resamples at a time.

    Args:
        samples: N.
        resamples: in all.
        seed: of the draws; non-negative.

    Returns:
        Chunks (R', N) float32 of whole numbers, each row adding up to N.
    """
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - first)
        drawn = generator.integers(0, samples, (rows, samples)) + samples * np.arange(rows)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=rows * samples)
        yield counted.reshape(rows, samples).astype(np.float32)
