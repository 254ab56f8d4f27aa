"""What reaching an exit costs when some internal classifiers are switched off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.errors import ConfigurationError


def costs_in_use(costs: ArrayLike, head_costs: ArrayLike, in_use: Sequence[int]) -> NDArray[np.float64]:
    """Return the cost of reaching each exit in use, without the internal classifiers that are not run.

    Args:
        costs: (E,) relative costs with every internal classifier run, as `ExitPredictions` has them.
        head_costs: (E-1,) the part of them that is each internal classifier's own.
        in_use: K exits, increasing, the last E-1.

    Returns:
        (K,) float64.

    Raises:
        ConfigurationError: numbers of exits that do not go together.
    """
    total, heads = np.asarray(costs, dtype=np.float64), np.asarray(head_costs, dtype=np.float64)
    if heads.shape != (len(total) - 1,):
        raise ConfigurationError(f"Expected {len(total) - 1} head costs for {len(total)} exits, got {heads.size}")
    unused = heads.copy()
    unused[[k for k in in_use if k < len(heads)]] = 0.0
    saved = np.concatenate([[0.0], np.cumsum(unused)])  # by not running heads before exit k
    reached: NDArray[np.float64] = (total - saved)[list(in_use)]
    return reached
