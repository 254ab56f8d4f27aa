"""Weights and biases of the geometric ensemble of the exits passed so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Self

from array_api_compat import device

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import Array, namespace_of


@dataclass(frozen=True)
class Ensemble:
    """``q_k = softmax(mean_{j<=k} w_kj·log p_j + b_k)`` at the k-th of K exits in use.

    Attributes:
        weights: K rows; row k has k + 1 weights, at least 0.
        biases: K rows of C numbers.

    Raises:
        ConfigurationError: rows of other lengths, a negative weight, or a number that is not finite.

    Source: Wolczyk et al., "Zero Time Waste", NeurIPS 2021, section 3.2; its weights are exponentials, so above 0.
    """

    weights: tuple[tuple[float, ...], ...]
    biases: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.weights or [len(row) for row in self.weights] != list(range(1, len(self.weights) + 1)):
            raise ConfigurationError(
                f"Expected an ensemble with 1, 2, 3 ... weights in its rows, got {[len(row) for row in self.weights]}"
            )
        if len(self.biases) != len(self.weights) or len({len(row) for row in self.biases}) != 1:
            raise ConfigurationError(
                f"Expected a bias for each class in {len(self.weights)} rows of an ensemble, "
                f"got rows of {[len(row) for row in self.biases]}"
            )
        for value in (number for row in (*self.weights, *self.biases) for number in row):
            if not isfinite(value):
                raise ConfigurationError(f"Expected finite numbers in an ensemble, got {value}")
        if min(min(row) for row in self.weights) < 0:
            raise ConfigurationError("Expected weights of at least 0 in an ensemble, got a negative one")

    @property
    def exits(self) -> int:
        """K, the exits in use that it is for."""
        return len(self.weights)

    @property
    def classes(self) -> int:
        """C."""
        return len(self.biases[0])

    def biases_like(self, logits: Array) -> Array:
        """Return the biases (K, C) in the library and dtype of ``logits`` and on its device; made once for each."""
        xp, place = namespace_of(logits), device(logits)
        key = (xp.__name__, str(logits.dtype), str(place))
        if key not in self._made:
            self._made[key] = xp.asarray(self.biases, dtype=logits.dtype, device=place)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple[str, str, str], Array]:
        return {}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the ensemble that JSON holds."""
        rows = (tuple(tuple(float(value) for value in row) for row in fields[name]) for name in ("weights", "biases"))
        return cls(*rows)
