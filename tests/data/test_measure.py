"""The input's size and normalisation, measured from training images, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.measure import choose_size, measure_normalization
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import BadImageError, DataError
from shallowdeep.image_size import Size

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)


class Broken(ArrayStore):
    """Images with even numbers cannot be read."""

    def decode(
        self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Refuse every other image."""
        if index % 2 == 0:
            raise BadImageError(self.name(index))
        return super().decode(index, size, rules)

    def dimensions(self, index: int) -> tuple[int, int]:
        """Refuse every other image."""
        if index % 2 == 0:
            raise BadImageError(self.name(index))
        return super().dimensions(index)


def test_mean_and_deviation_are_numpys() -> None:
    """Over the positions given alone, in [0, 1], to 4 decimals."""
    positions = np.arange(5, 20)
    mean, std = measure_normalization(ArrayStore(PIXELS, "noise"), positions, 16, skip_bad_images=False)
    values = PIXELS[positions] / 255
    assert mean == pytest.approx(values.mean(axis=(0, 1, 2)), abs=5.1e-5)
    assert std == pytest.approx(values.std(axis=(0, 1, 2)), abs=5.1e-5)


def test_a_constant_channel_may_be_divided_by() -> None:
    """Black images have a deviation above 0."""
    _, std = measure_normalization(ArrayStore(0 * PIXELS, "black"), np.arange(20), 16, skip_bad_images=False)
    assert min(std) > 0


def test_unreadable_images_are_refused_or_left_out() -> None:
    """One by one, and all together."""
    store = Broken(PIXELS, "noise")
    with pytest.raises(BadImageError, match="image 0 of noise"):
        measure_normalization(store, np.arange(20), 16, skip_bad_images=False)
    found = measure_normalization(store, np.arange(20), 16, skip_bad_images=True)
    assert found == measure_normalization(store, np.arange(1, 20, 2), 16, skip_bad_images=False)
    with pytest.raises(DataError, match="Expected readable training images, got none, first image 0 of noise"):
        measure_normalization(store, np.arange(0, 20, 2), 16, skip_bad_images=True)


@pytest.mark.parametrize(("side", "size"), [(16, 32), (47, 32), (48, 32), (49, 64), (500, 224)])
def test_the_nearest_size_is_chosen(side: int, size: int) -> None:
    """By the median of shorter sides; of two as near, the smaller."""
    store = ArrayStore(np.zeros((3, side, side + 100), np.uint8), "grey")
    assert choose_size(store, np.arange(3), [32, 64, 224]) == size


def test_sizes_come_from_readable_headers() -> None:
    """Broken ones are passed over; where all are broken, the data is refused."""
    store = Broken(PIXELS, "noise")
    assert choose_size(store, np.arange(20), [16, 32]) == 16
    with pytest.raises(DataError, match="got none, first image 0 of noise"):
        choose_size(store, np.arange(0, 20, 2), [16, 32])
