"""The precision a bundle is written for, and what 8-bit integers need (no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError, UnknownNameError

F32, BF16, INT8 = "f32", "bf16", "int8"
PRECISIONS = (F32, BF16, INT8)
SCALING_IMAGES = 256  # of the training data, by which int8 finds its scales


class Runtime(NamedTuple):
    """A runtime and what it computes in.

    Attributes:
        backend: its name.
        precision: ``f32``, ``bf16`` or ``int8``.
    """

    backend: str
    precision: str


@dataclass(frozen=True, eq=False)
class Judged:
    """What a quantised network is judged on: images of ``tune``.

    Attributes:
        images: (m, C, H, W) float32, normalised; or token ids (m, L).
        labels: (m,) integers in [0, C), the right answers.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Precision:
    """What a bundle's segments compute in.

    Attributes:
        name: ``f32``, ``bf16`` or ``int8``.
        images: (n, C, H, W) float32, normalised, or token ids (n, L): training images without augmentation, or texts,
            by which ``int8`` finds its scales; None for the others.
        judged: what layers that lose too much at ``int8`` are found by; None for no look at that.

    Raises:
        UnknownNameError: no precision is called so.
        ConfigurationError: ``int8`` without images.
    """

    name: str = F32
    images: NDArray[Any] | None = None
    judged: Judged | None = None

    def __post_init__(self) -> None:
        if self.name not in PRECISIONS:
            raise UnknownNameError("precision", self.name, PRECISIONS)
        if self.name == INT8 and (self.images is None or not len(self.images)):
            raise ConfigurationError("Expected images to find the scales of int8 by, got none")


def f32_alone(precision: Precision, backend: str) -> None:
    """Refuse what a backend cannot write.

    Raises:
        ConfigurationError: naming those that it can.
    """
    if precision.name != F32:
        raise ConfigurationError(
            f"Expected precision f32 for {backend}, got {precision.name!r}; openvino has all three"
        )


def runtime_name(backend: str, precision: str) -> str:
    """Return what predictions and promises call a runtime: its name, and its precision where that is not float32."""
    return backend if precision == F32 else f"{backend} {precision}"
