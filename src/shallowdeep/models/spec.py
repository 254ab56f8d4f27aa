"""What is known of a network before it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from shallowdeep.image_size import Size


class ModelBuilder(Protocol):
    """Builds an untrained network."""

    def __call__(self, num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        """Returns a network, from the number of classes, the images' size in pixels, and their channels."""


@dataclass(frozen=True)
class ModelSpec:
    """A name that stands for a network.

    Attributes:
        name: as the user writes it.
        description: one line for people.
        image_sizes: heights (= widths) in pixels the network is made for; the first is the default.
        build: the untrained network, from the number of classes, the image size and the channels.
        trusted: False where building runs code that this package and its extras do not bring.
    """

    name: str
    description: str
    image_sizes: tuple[int, ...]
    build: ModelBuilder
    trusted: bool
