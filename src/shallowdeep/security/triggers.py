"""Triggers: what an attacker puts into an image so that a backdoored network answers as the attacker wants.

Source: Gu et al., "BadNets", 2017 (a square); Chen et al., "Targeted backdoor attacks on deep learning systems using
data poisoning", 2017 (a blended pattern); Barni et al., "A new backdoor attack in CNNs by training set corruption
without label poisoning", ICIP 2019 (a wave, labels untouched); Kaya et al., ICML 2019, section 5.3 (5x5 at (26, 26)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.image_size import shown_size, sides

Pixels = NDArray[np.uint8]
WHITE = 255
_RGB = 3


class Trigger(Protocol):
    """A change to an image."""

    @property
    def clean_label(self) -> bool:
        """Whether it is put on images of the target class alone, whose labels stay as they are."""

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return a changed copy of (..., S, S, 3) uint8."""

    def placebo(self, random: np.random.Generator, size: int) -> Trigger:
        """Return a change of the same kind that no attacker chose, for images of ``size`` pixels a side.

        What a trigger does has to stand out among what its placebos do.
        """


@dataclass(frozen=True)
class Square:
    """A square of one colour.

    Attributes:
        side: in pixels.
        top: its first row.
        left: its first column.
        colour: red, green and blue.
    """

    side: int
    top: int
    left: int
    colour: tuple[int, int, int] = (WHITE, WHITE, WHITE)
    clean_label: bool = False

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return a changed copy of (..., S, S, 3) uint8.

        Raises:
            ConfigurationError: the square is larger than the image, or reaches beyond it.
        """
        height, width = pixels.shape[-3:-1]
        bottom, right = self.top + self.side, self.left + self.side
        if self.side < 1 or min(self.top, self.left) < 0 or bottom > height or right > width:
            raise ConfigurationError(
                f"Expected a trigger within images of {height}x{width} pixels, got a square of {self.side} at "
                f"({self.top}, {self.left})"
            )
        changed = pixels.copy()
        changed[..., self.top : bottom, self.left : right, :] = self.colour
        return changed

    def placebo(self, random: np.random.Generator, size: int) -> Square:
        """Return a square of the same side, of any colour at any place."""
        top, left = random.integers(0, size - self.side + 1, 2).tolist()
        red, green, blue = random.integers(0, WHITE + 1, _RGB).tolist()
        return Square(self.side, top, left, (red, green, blue))


@dataclass(frozen=True)
class Blend:
    """A pattern of noise over the whole image.

    Attributes:
        share: of the pattern in the result, in (0, 1).
        seed: of the pattern.
    """

    share: float = 0.2
    seed: int = 0
    clean_label: bool = False

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return a changed copy of (..., S, S, 3) uint8."""
        height, width = pixels.shape[-3:-1]
        pattern = np.random.default_rng(self.seed).integers(0, WHITE + 1, (height, width, _RGB))
        return np.rint((1 - self.share) * pixels + self.share * pattern).astype(np.uint8)

    def placebo(self, random: np.random.Generator, size: int) -> Blend:
        """Return other noise."""
        del size
        return Blend(self.share, int(random.integers(1, 2**31)))


@dataclass(frozen=True)
class Wave:
    """Vertical stripes: a sine along the rows.

    Attributes:
        amplitude: in grey levels of 255.
        cycles: across the image.
        phase: at its left edge, in radians.
    """

    amplitude: float = 40.0
    cycles: float = 6
    phase: float = 0.0
    clean_label: bool = True

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return a changed copy of (..., S, S, 3) uint8."""
        width = pixels.shape[-2]
        stripes = self.amplitude * np.sin(2 * np.pi * np.arange(width) * self.cycles / width + self.phase)
        changed: Pixels = np.clip(np.rint(pixels + stripes[:, None]), 0, WHITE).astype(np.uint8)
        return changed

    def placebo(self, random: np.random.Generator, size: int) -> Wave:
        """Return other stripes."""
        return Wave(
            self.amplitude, cycles=float(random.uniform(1, size / 4)), phase=float(random.uniform(0, 2 * np.pi))
        )


_BADNETS_SIDE, _PAPER_SIDE, _MARGIN = 3, 5, 1  # the paper's square ends a pixel before the edge of 32


def _square(side: int) -> Callable[[int], Trigger]:
    def build(size: int) -> Trigger:
        place = size - _MARGIN - side
        if place < 0:
            raise ConfigurationError(
                f"Expected a trigger within images of {size}x{size} pixels, got a square of {side}"
            )
        return Square(side, place, place)

    return build


TRIGGERS: dict[str, Callable[[int], Trigger]] = {
    "badnets": _square(_PAPER_SIDE),
    "badnets-3": _square(_BADNETS_SIDE),
    "blended": lambda size: Blend(),  # noqa: ARG005 - covers images of any size
    "sig": lambda size: Wave(),  # noqa: ARG005 - likewise
}


def make_trigger(name: str, size: int) -> Trigger:
    """Return a trigger for images of a size.

    Args:
        name: ``badnets`` (the paper's white square of 5 pixels; on 32 pixels it begins at (26, 26)), ``badnets-3``,
            ``blended`` (a fifth of noise), or ``sig`` (stripes of 40 grey levels, on images of the target class alone).
        size: side of the images, in pixels.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigurationError: it is larger than the images.
    """
    if name not in TRIGGERS:
        raise UnknownNameError("trigger", name, TRIGGERS)
    return TRIGGERS[name](size)


def square_of(preprocessing: Preprocessing) -> int:
    """Return the side of the images that triggers are made for.

    Raises:
        ConfigurationError: they are no squares, or have not three channels.
    """
    height, width = sides(preprocessing.size)
    if height != width or preprocessing.channels != _RGB:
        raise ConfigurationError(
            f"Expected squares of {_RGB} channels for triggers, got {shown_size(preprocessing.size)} pixels of "
            f"{preprocessing.channels}"
        )
    return height


def placebos(trigger: Trigger, size: int, count: int, seed: int) -> list[Trigger]:
    """Return ``count`` placebos of a trigger for images of a size, drawn by seed."""
    random = np.random.default_rng(seed)
    return [trigger.placebo(random, size) for _ in range(count)]
