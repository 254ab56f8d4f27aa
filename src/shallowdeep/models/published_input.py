"""How the networks of torchvision and timm want their images, as these packages publish it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shallowdeep.errors import ConfigurationError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
USUAL_SHARE = 0.875
"""Of the side that the centre crop keeps, such as 224 of 256."""


@dataclass(frozen=True)
class PublishedInput:
    """The evaluation transform of one network, or a library's usual one.

    Attributes:
        mean: per channel of images in [0, 1], red, green, blue.
        std: likewise.
        interpolation: name of the filter.
        resize: ``crop``, ``pad`` or ``stretch``.
        crop_share: of the side that the centre crop keeps.
        size: that it was made for, in pixels; 0 for any.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str = "crop"
    crop_share: float = USUAL_SHARE
    size: int = 0


CONVENTIONS = {
    "torchvision": PublishedInput(IMAGENET_MEAN, IMAGENET_STD, "bilinear"),
    "timm": PublishedInput(IMAGENET_MEAN, IMAGENET_STD, "bicubic"),
}
"""By library, for networks that it does not know."""


def crop_share_of(cropped: int, resized: int) -> float:
    """Returns the crop share of a pair of sides, such as 224 and 256.

    Args:
        cropped: side of the centre crop, in pixels.
        resized: side that images are resized to before, at least as long.

    Returns:
        A float for which ``floor(cropped / share)`` is `resized`: where the quotient is rounded up, the next below it.

    Raises:
        ConfigurationError: if the crop is larger than the image.
    """
    if not 0 < cropped <= resized:
        raise ConfigurationError(f"Expected a crop of at most the resized {resized} pixels, got {cropped}")
    share = cropped / resized
    while math.floor(cropped / share) < resized:
        share = math.nextafter(share, 0)
    return share
