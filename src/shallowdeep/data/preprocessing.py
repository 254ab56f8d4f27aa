"""What turns an image file into network input; checkpoints and bundles carry it (no torch at import)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.image_rules import CHANNELS, DEFAULT_RULES, ImageRules
from shallowdeep.errors import ConfigurationError
from shallowdeep.image_size import Size, sides, size_from

if TYPE_CHECKING:
    from torch import Tensor

CHANNEL_ORDERS = ("rgb", "bgr")

_COLOURS = 3
_REQUIRED = ("size", "mean", "std")
_RULES = tuple(field.name for field in fields(ImageRules))
_OPTIONAL = (*_RULES, "channel_order")


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes a network's input: rules of decoding, size, order of channels, normalisation.

    Args:
        size: of the input, in pixels.
        mean: per channel, in the network's order (red, green, blue unless `channel_order` is bgr), of values scaled to
            [0, 1]. There are as many as the network has channels.
        std: per channel, of the same values; positive.
        rules: how files are decoded and resized; pixels are RGB whatever the network's order is. Their channels become
            the network's, where files can have as many.
        channel_order: rgb or bgr, of the network's input.

    Raises:
        ConfigurationError: if a value is out of range.

    Example:
        >>> import numpy as np, shallowdeep
        >>> preprocessing = shallowdeep.Preprocessing(size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> float(preprocessing.normalize_array(np.full((1, 3, 32, 32), 255, np.uint8)).max())
        2.0
    """

    size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rules: ImageRules = DEFAULT_RULES
    channel_order: str = "rgb"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", size_from(self.size))
        object.__setattr__(self, "mean", _per_channel("mean", self.mean))
        object.__setattr__(self, "std", _per_channel("std", self.std))
        if len(self.mean) != len(self.std):
            raise ConfigurationError(
                f"Expected as many numbers of std as of mean, got {len(self.std)} and {len(self.mean)}"
            )
        if self.channels in CHANNELS and self.rules.channels != self.channels:
            object.__setattr__(self, "rules", replace(self.rules, channels=self.channels))
        if min(self.std) <= 0:
            raise ConfigurationError(f"Expected positive std, got {list(self.std)}")
        if self.channel_order not in CHANNEL_ORDERS:
            raise ConfigurationError(
                f"Expected channel order {' or '.join(CHANNEL_ORDERS)}, got {self.channel_order!r}"
            )
        if self.channel_order != CHANNEL_ORDERS[0] and self.channels != _COLOURS:
            raise ConfigurationError(f"Expected three channels for the order {self.channel_order}, got {self.channels}")

    @property
    def channels(self) -> int:
        """C, of the network's input."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return (self.channels, *sides(self.size))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: `size`, `mean`, `std`, and of `rules` and `channel_order` what is no default.

        So documents without the latter, older ones among them, stand for the defaults.
        """
        order = {} if self.channel_order == CHANNEL_ORDERS[0] else {"channel_order": self.channel_order}
        return {
            "size": self.size if isinstance(self.size, int) else list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
            **self.rules.to_dict(),
            **order,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing a JSON document describes.

        Raises:
            ConfigurationError: if keys are missing or unknown, or a value is out of range.
        """
        if not isinstance(values, Mapping) or not set(_REQUIRED) <= set(values) <= {*_REQUIRED, *_OPTIONAL}:
            got = sorted(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
            raise ConfigurationError(
                f"Expected preprocessing with mean, size and std, and at most {', '.join(_OPTIONAL)}, got {got}"
            )
        rules = ImageRules.from_dict({key: value for key, value in values.items() if key in _RULES})
        order = values.get("channel_order", CHANNEL_ORDERS[0])
        return cls(
            size=size_from(values["size"]), mean=values["mean"], std=values["std"], rules=rules, channel_order=order
        )

    def normalize(self, images: Tensor) -> Tensor:
        """Return network input, (x / 255 - mean) / std, its channels in the network's order.

        Args:
            images: (N, C, H, W) uint8, as files are decoded.

        Returns:
            (N, C, H, W) float32 on the same device, in the same memory format.
        """
        values = (images.flip(1) if self.channel_order == "bgr" else images).float()
        scale, shift = (values.new_tensor(numbers).view(1, -1, 1, 1) for numbers in self._scale_and_shift())
        return values.mul_(scale).sub_(shift)

    def normalize_array(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what `normalize` does, for NumPy arrays: (N, C, H, W) uint8 to float32, contiguous."""
        scale, shift = (np.asarray(n, dtype=np.float32).reshape(1, -1, 1, 1) for n in self._scale_and_shift())
        ordered = images[:, ::-1] if self.channel_order == "bgr" else images
        values = np.ascontiguousarray(ordered, dtype=np.float32)
        values *= scale
        values -= shift
        return values

    def _scale_and_shift(self) -> tuple[list[float], list[float]]:
        """Numbers per channel with which x·scale - shift is (x / 255 - mean) / std."""
        scale = [1.0 / (255.0 * std) for std in self.std]
        return scale, [mean / std for mean, std in zip(self.mean, self.std, strict=True)]


class HasShape(Protocol):
    """Preprocessing of any kind."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""


def input_shape_from(document: Mapping[str, Any], preprocessing: HasShape | None) -> tuple[int, ...]:
    """Return the shape (C, H, W) of a network's input by its manifest; older ones leave it to the preprocessing.

    Args:
        document: a network's manifest or a bundle's.
        preprocessing: of the same manifest, or None.

    Raises:
        ValueError: neither says anything.
    """
    if "input_shape" in document:
        return tuple(int(side) for side in document["input_shape"])
    if preprocessing is None:
        raise ValueError("input_shape")
    return preprocessing.shape


def _per_channel(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return finite numbers, at least one.

    Raises:
        ConfigurationError: if they are not.
    """
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ConfigurationError(f"Expected a number of {name} for each channel, got {values!r}")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise ConfigurationError(f"Expected finite numbers as {name}, got {list(values)}")
    return tuple(float(value) for value in values)
