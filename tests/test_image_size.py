"""Sizes as numbers, as text, as pairs."""

from __future__ import annotations

import pytest

from shallowdeep.errors import ConfigurationError
from shallowdeep.image_size import Size, shown_size, sides, size_from


@pytest.mark.parametrize(
    ("given", "size"),
    [(64, 64), ("64", 64), ("96x160", (96, 160)), ((96, 160), (96, 160)), ([64, 64], 64), ("64x64", 64)],
)
def test_sizes_have_one_form(given: object, size: Size) -> None:
    """Squares are numbers, others pairs; text comes back as the same size."""
    assert size_from(given) == size
    assert size_from(shown_size(size)) == size
    assert sides(size) == (size if isinstance(size, tuple) else (size, size))


@pytest.mark.parametrize(
    "given", [0, -1, "0x3", "x", "3x", "96 x 160", (1, 2, 3), (1.0, 2), True, None, "1x2x3", (0, 5)]
)
def test_what_is_no_size_is_told(given: object) -> None:
    """In one line."""
    with pytest.raises(ConfigurationError, match="Expected image size of at least 1 pixel, such as 224 or 96x160, got"):
        size_from(given)
