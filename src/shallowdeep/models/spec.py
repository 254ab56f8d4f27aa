"""What is known of a network before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

ModelBuilder = Callable[[int, int], nn.Module]
"""Returns a network, from the number of classes and the images' height and width in pixels."""


@dataclass(frozen=True)
class ModelSpec:
    """A name that stands for a network.

    Attributes:
        name: as the user writes it.
        description: one line for people.
        image_sizes: heights (= widths) in pixels the network is made for; the first is the default.
        build: the untrained network, from the number of classes and the image size.
        trusted: False where building runs code that this package and its extras do not bring.
    """

    name: str
    description: str
    image_sizes: tuple[int, ...]
    build: ModelBuilder
    trusted: bool
