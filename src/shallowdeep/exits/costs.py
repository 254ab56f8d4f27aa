"""What reaching each exit costs, relative to the unmodified backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class CostModel:
    """Relative cost of each of E exits (the backbone's is 1); reads like a sequence of E numbers.

    Attributes:
        reached: (E,) cost of reaching each exit with every internal classifier run; positive, strictly rising. The last
            passes 1 by the internal classifiers.
        heads: (E-1,) the part of it that is each internal classifier's own; empty where it is not known, which counts
            as nothing: switching an exit off then saves nothing.
        cascaded: whether internal classifiers read the logits of those before them, which must then be run.

    Raises:
        DataError: costs that do not rise, or another number of heads.
    """

    reached: tuple[float, ...]
    heads: tuple[float, ...] = ()
    cascaded: bool = False

    def __post_init__(self) -> None:
        values = list(self.reached)
        steps = zip([0.0, *values], [*values, float("inf")], strict=True)
        if not values or not all(before < after for before, after in steps):  # also false for nan and inf
            raise DataError(f"Expected finite positive costs that rise from exit to exit, got {values}")
        if not self.heads:
            object.__setattr__(self, "heads", (0.0,) * (len(values) - 1))
        if len(self.heads) != len(values) - 1:
            raise DataError(f"Expected {len(values) - 1} head costs for {len(values)} exits, got {len(self.heads)}")

    @classmethod
    def of(cls, costs: CostModel | ArrayLike) -> CostModel:
        """Return a cost model as it is, or one of the costs (E,) of exits whose heads' own costs are not known.

        Raises:
            DataError: anything else than (E,) floating numbers.
        """
        if isinstance(costs, CostModel):
            return costs
        values = np.asarray(costs)
        if values.ndim != 1 or values.dtype.kind != "f":
            raise DataError(f"Expected floating costs of shape (E,), got {values.dtype} of shape {values.shape}")
        return cls(tuple(values.astype(np.float64).tolist()))

    def in_use(self, exits: Sequence[int]) -> NDArray[np.float64]:
        """Return the cost of reaching each exit in use, without the internal classifiers that are not run.

        Args:
            exits: K exits in use, increasing.

        Returns:
            (K,) float64.

        Raises:
            ConfigurationError: there is no such exit.
        """
        if not all(0 <= exit_ < len(self) for exit_ in exits):
            raise ConfigurationError(f"Expected exits in [0, {len(self)}), got {list(exits)}")
        unused = np.asarray(self.heads, dtype=np.float64)
        unused[[k for k in exits if k < len(self.heads)]] = 0.0
        saved = np.concatenate([[0.0], np.cumsum(unused)])  # by not running heads before exit k
        reached: NDArray[np.float64] = (np.asarray(self.reached) - saved)[list(exits)]
        return reached

    def __len__(self) -> int:
        return len(self.reached)

    def __iter__(self) -> Iterator[float]:
        return iter(self.reached)

    def __getitem__(self, exit_: int) -> float:
        return self.reached[exit_]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - NumPy's
        return np.array(self.reached, dtype=np.float64 if dtype is None else dtype, copy=copy)
