"""The sizes of image the paper's networks are built for."""

from __future__ import annotations

from shallowdeep.errors import ConfigurationError

SMALL_IMAGE = 32
"""Height and width of CIFAR images, in pixels."""

LARGE_IMAGE = 64
"""Height and width of Tiny ImageNet images, in pixels; from here on some networks halve them in the stem."""

PAPER_SIZES = (SMALL_IMAGE, LARGE_IMAGE)


def check_image_size(image_size: int, *, minimum: int) -> None:
    """Passes when images are large enough for a network's strides.

    Args:
        image_size: height and width in pixels.
        minimum: the smallest that leaves at least one pixel at the network's end.

    Raises:
        ConfigurationError: smaller images.
    """
    if image_size < minimum:
        raise ConfigurationError(f"Expected image_size >= {minimum}, got {image_size}")


RGB = 3
"""Channels of the paper's networks and of torchvision's."""


def check_rgb(name: str, channels: int) -> None:
    """Refuses images of other than three channels.

    Raises:
        ConfigurationError: naming what takes others.
    """
    if channels != RGB:
        raise ConfigurationError(
            f"Expected 3 channels for {name!r}, got {channels}; timm: names and your own package.module:callable take "
            "others, the latter as channels="
        )
