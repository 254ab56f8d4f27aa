"""Which exits pay on a machine: a pure search over measured times (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.exits.costs import CostModel

MOST_TOGETHER = 3  # early exits in a set that is looked at, besides all of them
_LEAST_STEP = 1e-6  # of the static network's time, between two exits: costs rise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RuntimeTimes:
    """What a runtime takes for a network with one early exit in use, for each of these, and for none.

    Two segments each say what a segment between any two exits takes: ``before[j] + after[i] - static`` from behind exit
    i to exit j with its head. Cuts and calls are in it, as they were measured.

    Attributes:
        backend: the runtime.
        precision: ``f32``, ``bf16`` or ``int8``.
        sizes: (S,) rising, images in a batch.
        static: (S,) seconds a batch of the unmodified network, compiled for that size.
        before: (E-1, S) seconds of all up to an exit, its head included.
        after: (E-1, S) seconds of what is left behind it.
    """

    backend: str
    precision: str
    sizes: tuple[int, ...]
    static: tuple[float, ...]
    before: tuple[tuple[float, ...], ...]
    after: tuple[tuple[float, ...], ...]

    @property
    def early(self) -> int:
        """E-1, how many internal classifiers there are."""
        return len(self.before)

    def static_seconds(self, rows: float) -> float:
        """Seconds of the unmodified network for a batch of so many."""
        return _between(self.sizes, self.static, rows)

    def segment_seconds(self, start: int, end: int, rows: float) -> float:
        """Seconds of a segment for a batch of so many.

        Args:
            start: the exit before it; -1 for none.
            end: the exit that it ends at, with its head; E-1 for the final one.
            rows: images.
        """
        static = self.static_seconds(rows)
        before = static if end == self.early else _between(self.sizes, self.before[end], rows)
        after = static if start < 0 else _between(self.sizes, self.after[start], rows)
        return max(before + after - static, _LEAST_STEP * static)

    def head_seconds(self, exit_: int, rows: float) -> float:
        """Seconds that an exit costs those that do not leave by it: its head, the cut, one call more."""
        own = _between(self.sizes, self.before[exit_], rows) + _between(self.sizes, self.after[exit_], rows)
        return max(0.0, own - self.static_seconds(rows))

    def costs(self, batch_sizes: Sequence[int], *, cascaded: bool = False) -> CostModel:
        """Return what reaching each exit takes, as a share of the static network's time: a mean over batch sizes."""
        shares = np.mean([self._shares(rows) for rows in batch_sizes], axis=0)  # (2, E): the stages alone; heads
        trunk = np.maximum.accumulate(np.clip(shares[0], _LEAST_STEP, None))
        reached = trunk + np.cumsum(shares[1]) + _LEAST_STEP * np.arange(self.early + 1)
        return CostModel(tuple(reached.tolist()), tuple(shares[1, :-1].tolist()), cascaded)

    def _shares(self, rows: int) -> Floats:
        static = self.static_seconds(rows)
        after = [_between(self.sizes, values, rows) for values in self.after]
        heads = [self.head_seconds(exit_, rows) for exit_ in range(self.early)]
        trunk = [*(static - value for value in after), static]
        return np.asarray([trunk, [*heads, 0.0]]) / static


def expected_seconds(
    times: RuntimeTimes, in_use: Sequence[int], exits: ArrayLike, batch_size: int, rows: Callable[[int], int]
) -> float:
    """Return the mean seconds of an engine for a batch, by where each image leaves.

    Args:
        times: of the runtime.
        in_use: exits in use, increasing, the final one last.
        exits: (N,) integers among them, where each of N images leaves; batches are made of them in turn.
        batch_size: images in a batch; of fewer than N images at most N.
        rows: how many images are computed for so many that stay.
    """
    taken = np.asarray(exits)
    size = min(batch_size, len(taken))
    batches = taken[: len(taken) // size * size].reshape(-1, size)
    seconds = 0.0
    for start, end in pairwise((-1, *in_use)):
        present = np.count_nonzero(batches > start, axis=1)
        counts, times_seen = np.unique(present[present > 0], return_counts=True)
        seconds += sum(
            seen * times.segment_seconds(start, end, rows(int(count)))
            for count, seen in zip(counts, times_seen, strict=True)
        )
    return seconds / len(batches)


def exit_sets(early: int, *, cascaded: bool = False) -> Iterator[tuple[int, ...]]:
    """Yield sets of internal classifiers worth a look, the smallest first: up to three of them, and all.

    Args:
        early: how many there are.
        cascaded: whether each reads the one before: then the first few.
    """
    if cascaded:
        yield from (tuple(range(count)) for count in range(1, early + 1))
        return
    for count in range(1, min(early, MOST_TOGETHER) + 1):
        yield from combinations(range(early), count)
    if early > MOST_TOGETHER:
        yield tuple(range(early))


def geometric_mean(values: Sequence[float]) -> float:
    """Return the mean of ratios: one of 2 and one of a half give 1."""
    return float(np.exp(np.mean(np.log(values))))


def _between(sizes: Sequence[int], seconds: Sequence[float], rows: float) -> float:
    """Return seconds for a batch, linear between sizes that were measured; beyond the largest in proportion."""
    if rows > sizes[-1]:
        return seconds[-1] * rows / sizes[-1]
    return float(np.interp(rows, sizes, seconds))
