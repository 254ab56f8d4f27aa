"""What a dataset's training images tell about the input a network should have."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.splits import Indices
from shallowdeep.data.stores import ImageStore
from shallowdeep.errors import BadImageError, DataError
from shallowdeep.image_size import Size, sides

Channels = tuple[float, ...]

_SIZE_SAMPLE = 1000
_PIXEL_SAMPLE = 5000
_PIXEL_LIMIT = 20_000_000  # about 5,000 images of 64x64: more pixels change no decimal, only the wait
_FEWEST = 200
_SMALLEST_STD = 1e-3  # a constant channel must not be divided by zero


def choose_size(images: ImageStore, positions: Indices, sizes: Sequence[Size]) -> Size:
    """Return the size nearest the median shorter side of at most 1,000 evenly spaced images, from their headers.

    Args:
        images: of the training part.
        positions: (N,) of the training split.
        sizes: to choose from, in pixels; of two as near, the smaller wins.

    Raises:
        DataError: if not one header can be read.
    """
    if len(sizes) == 1:
        return sizes[0]
    images.prepare()
    shorter = []
    for position in _evenly_spaced(positions, _SIZE_SAMPLE):
        try:
            shorter.append(min(images.dimensions(int(position))))
        except BadImageError:  # told when it is decoded
            continue
    if not shorter:
        raise DataError(f"Expected readable training images, got none, first {images.name(int(positions[0]))}")
    median = float(np.median(shorter))
    return min(sizes, key=lambda size: (abs(min(sides(size)) - median), sides(size)))


def measure_normalization(
    images: ImageStore,
    positions: Indices,
    size: Size,
    *,
    rules: ImageRules = DEFAULT_RULES,
    skip_bad_images: bool,
) -> tuple[Channels, Channels]:
    """Return (mean, std) per channel of values in [0, 1], rounded to 4 decimals.

    At most 5,000 evenly spaced images are read, and at most about 20 million pixels (but 200 images).

    Args:
        images: of the training part.
        positions: (N,) of the training split.
        size: of the decoded images, in pixels.
        rules: how they are decoded and resized.
        skip_bad_images: leave unreadable ones out.

    Raises:
        BadImageError: if an image is unreadable and not to be skipped.
        DataError: if all are unreadable.
    """
    images.prepare()
    count = min(_PIXEL_SAMPLE, max(_FEWEST, _PIXEL_LIMIT // prod(sides(size))))
    histogram = np.zeros((rules.channels, 256), dtype=np.int64)  # exact, whatever the order of the sums
    for position in _evenly_spaced(positions, count):
        try:
            pixels = images.decode(int(position), size, rules)
        except BadImageError:
            if not skip_bad_images:
                raise
            continue
        for channel in range(rules.channels):
            histogram[channel] += np.bincount(pixels[..., channel].reshape(-1), minlength=256)
    total = histogram[0].sum()
    if not total:
        raise DataError(f"Expected readable training images, got none, first {images.name(int(positions[0]))}")
    values = np.arange(256) / 255
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0.0))
    return _rounded(mean), _rounded(np.maximum(std, _SMALLEST_STD))


def _rounded(values: np.ndarray) -> Channels:
    """Return numbers of 4 decimals."""
    return tuple(round(float(value), 4) for value in values)


def _evenly_spaced(positions: Indices, count: int) -> Indices:
    """Return at most `count` of the positions, evenly spaced, the first and the last among them."""
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).round().astype(np.int64)]
