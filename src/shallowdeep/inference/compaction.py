"""Who stays in a batch, in which order, so that little has to be copied.

Features are large: copying those that stay is most of what an engine does besides running segments. On the host the
samples at the end move into the places of those that leave, and all others stay where they are. On a device, where it
would have to be asked how many move, all are gathered.
"""

from __future__ import annotations

import numpy as np

from shallowdeep.exits.arrays import Array, namespace_of


def split(sure: Array, leaving: int) -> tuple[Array, Array]:
    """Return the places of samples that stay, in the order to keep them in, and of those that leave.

    Args:
        sure: (n,) bool, whether each leaves.
        leaving: how many do.

    Returns:
        (n - leaving,) integers for `keep`, and (leaving,) ascending ones.
    """
    xp = namespace_of(sure)
    staying = len(sure) - leaving
    if not isinstance(sure, np.ndarray):
        order = xp.argsort(xp.astype(sure, xp.uint8), stable=True)
        return order[:staying], order[staying:]
    places, gone = np.arange(staying), np.flatnonzero(sure)
    places[gone[gone < staying]] = staying + np.flatnonzero(~sure[staying:])
    return places, gone


def keep(x: Array, places: Array) -> Array:
    """Return rows of ``x``; a NumPy array is written to.

    Args:
        x: (n, ...) that nobody else needs.
        places: (m,) integers in [0, n), from `split`, or from one `split` taken from another.

    Returns:
        (m, ...)
    """
    if not isinstance(x, np.ndarray):
        return x[places]
    moved = np.flatnonzero(places != np.arange(len(places)))
    x[moved] = x[places[moved]]
    return x[: len(places)]
