"""Sizes of images: the side of a square in pixels, or (height, width) (no torch)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from shallowdeep.errors import ConfigurationError

Size: TypeAlias = int | tuple[int, int]
"""The side of a square in pixels, or (height, width) of another rectangle."""

_WRITTEN = re.compile(r"(\d+)(?:x(\d+))?")
_PAIR = 2


def sides(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


def shown_size(size: Size) -> str:
    """Return "96x160", height first."""
    height, width = sides(size)
    return f"{height}x{width}"


def size_from(value: Any) -> Size:  # noqa: ANN401 - from JSON, TOML or the command line
    """Return the size that a number, "96x160" or (96, 160) means; squares are numbers.

    Raises:
        ConfigurationError: for anything else, and for a side below 1 pixel.

    Example:
        >>> size_from("96x160"), size_from([64, 64])
        ((96, 160), 64)
    """
    found: Sequence[Any] = ()
    if isinstance(value, int) and not isinstance(value, bool):
        found = (value, value)
    elif isinstance(value, str):
        match = _WRITTEN.fullmatch(value.strip())
        found = () if match is None else (int(match[1]), int(match[2] or match[1]))
    elif isinstance(value, (list, tuple)) and len(value) == _PAIR:
        found = value
    if len(found) != _PAIR or not all(isinstance(side, int) and not isinstance(side, bool) for side in found):
        raise ConfigurationError(f"Expected image size of at least 1 pixel, such as 224 or 96x160, got {value!r}")
    height, width = found
    if min(height, width) < 1:
        raise ConfigurationError(f"Expected image size of at least 1 pixel, such as 224 or 96x160, got {value!r}")
    return int(height) if height == width else (int(height), int(width))
