"""Confusion: how far the exits passed on the way disagree with the one that answers.

``D_k(x) = sum_{j<k, in use} || p_k - p_j ||_1`` after an exit at k, and ``D_F`` over all earlier exits at the end. It
is z-scored with mean and standard deviation over un-augmented training data. Because both are sums over pairs of exits,
the means and covariances of the pairwise distances give them for any exits in use.

Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 5 (confusion); after an early exit it is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.arrays import Array, namespace_of, to_numpy
from shallowdeep.exits.signals import softmax

_LOGITS_AXES = 3  # (E, N, C)
_ROUNDING = 1e-12  # of variances, which are differences of squares


def confusion(logits: Array) -> Array:
    """Return the paper's metric, not normalised: how far all earlier exits are from the last.

    Args:
        logits: (E, N, C) floating, unnormalised.

    Returns:
        (N,) of the same dtype, in [0, 2(E-1)]; all 0 where E is 1.
    """
    xp = namespace_of(logits)
    return xp.sum(distances(logits, logits.shape[0] - 1), axis=0)


def distances(logits: Array, exit_: int) -> Array:
    """Return the L1 distance of an exit's probabilities from those of each earlier exit.

    Args:
        logits: (E, N, C) floating, unnormalised.
        exit_: k, in [0, E).

    Returns:
        (k, N) of the same dtype, in [0, 2].

    Raises:
        DataError: logits of another shape.
    """
    if logits.ndim != _LOGITS_AXES:
        raise DataError(f"Expected logits of shape (exits, samples, classes), got {tuple(logits.shape)}")
    xp = namespace_of(logits)
    here = softmax(logits[exit_, :, :])
    apart = [xp.sum(xp.abs(here - softmax(logits[j, :, :])), axis=-1) for j in range(exit_)]
    return xp.stack(apart) if apart else xp.zeros((0, logits.shape[1]), dtype=logits.dtype)


class ConfusionScan:
    """Confusion exit by exit, for the samples that are still there."""

    def __init__(self) -> None:
        self._seen: list[Array] = []

    def step(self, logits: Array) -> Array | None:
        """Confusion (n,) at the next exit in use, not normalised; None at the first."""
        xp = namespace_of(logits)
        here = softmax(logits)
        total = None
        for earlier in self._seen:
            apart = xp.sum(xp.abs(here - earlier), axis=-1)
            total = apart if total is None else total + apart
        self._seen.append(here)
        return total

    def keep(self, samples: Array) -> None:
        """Go on with some of the samples, given by their places (m,) among the present ones."""
        self._seen = [values[samples] for values in self._seen]


@dataclass(frozen=True)
class ConfusionStatistics:
    """Means and covariances of the distances between exits, over un-augmented training data.

    Args:
        means: E of them, the k-th (k,): mean distance of exit k from each earlier one.
        covariances: E of them, the k-th (k, k).
        samples: that they were taken over.

    Raises:
        DataError: shapes that do not go together, or values that are not finite.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.random.default_rng(0).normal(size=(3, 100, 4))  # of training samples, unaugmented
        >>> shallowdeep.ConfusionStatistics.over([logits]).exits
        3
    """

    means: tuple[NDArray[np.float64], ...]
    covariances: tuple[NDArray[np.float64], ...]
    samples: int

    def __post_init__(self) -> None:
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            if mean.shape != (k,) or covariance.shape != (k, k):
                raise DataError(f"Expected confusion statistics of {k} earlier exits, got {mean.shape}")
            if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
                raise DataError("Expected finite confusion statistics, got others")

    @property
    def exits(self) -> int:
        """E, the final classifier included."""
        return len(self.means)

    @classmethod
    def over(cls, batches: Iterable[Array]) -> Self:
        """Return the statistics over batches of logits, each (E, B, C), unnormalised.

        Raises:
            DataError: no sample at all.
        """
        sums: list[NDArray[np.float64]] = []
        products: list[NDArray[np.float64]] = []
        samples = 0
        for logits in batches:
            exits = logits.shape[0]
            if not sums:
                sums = [np.zeros(k) for k in range(exits)]
                products = [np.zeros((k, k)) for k in range(exits)]
            samples += logits.shape[1]
            for k in range(1, exits):
                apart = to_numpy(distances(logits, k)).astype(np.float64)
                sums[k] += apart.sum(axis=1)
                products[k] += apart @ apart.T
        if not samples:
            raise DataError("Expected at least one sample to take confusion statistics over, got none")
        means = [total / samples for total in sums]
        covariances = [p / samples - np.outer(mean, mean) for p, mean in zip(products, means, strict=True)]
        return cls(tuple(means), tuple(covariances), samples)

    def at(self, exit_: int, in_use: Sequence[int]) -> tuple[float, float]:
        """Return mean and standard deviation of confusion after an exit at ``exit_``.

        Args:
            exit_: k.
            in_use: exits in use; those before k count.

        Returns:
            Both; the standard deviation is 1 where the exits never disagree, so that z-scores stay finite.
        """
        earlier = [j for j in in_use if j < exit_]
        mean = float(self.means[exit_][earlier].sum())
        variance = float(self.covariances[exit_][np.ix_(earlier, earlier)].sum())
        return mean, sqrt(variance) if variance > _ROUNDING * (1 + mean**2) else 1.0

    def normalised(self, values: Array, exit_: int, in_use: Sequence[int]) -> Array:
        """Return z-scores of confusion values after an exit at ``exit_``, of the same shape and library."""
        mean, spread = self.at(exit_, in_use)
        return (values - mean) / spread

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "samples": self.samples,
            "means": [mean.tolist() for mean in self.means],
            "covariances": [covariance.tolist() for covariance in self.covariances],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], source: str) -> Self:
        """Return the statistics in a JSON document.

        Raises:
            CheckpointError: it holds something else; ``source`` is named.
        """
        try:
            means = tuple(np.asarray(mean, dtype=np.float64) for mean in document["means"])
            covariances = tuple(
                np.asarray(values, dtype=np.float64).reshape(k, k) for k, values in enumerate(document["covariances"])
            )
            samples = int(document["samples"])
            return cls(means, covariances, samples)
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            raise CheckpointError(f"Expected confusion statistics in {source}, got others: {error}") from error
