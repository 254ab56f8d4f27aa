"""The rules by which an image file becomes the square of pixels a network sees (no torch, no PIL)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from shallowdeep.errors import ConfigurationError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
RESIZES = ("crop", "pad", "stretch")
ALPHAS = ("white", "black", "drop")
ORIENTATIONS = ("exif", "stored")
CHANNELS = (1, 3, 4)
"""Of images in files: grey; red, green, blue; these and alpha."""

_COLOURS = 3
_APART = {"exact_resize", "channels"}  # they do not say how images are resized
_GREY_LEVELS = 255


@dataclass(frozen=True)
class ImageRules:
    """How an image is decoded, made a square, and resized.

    With any rule but the defaults, images are resized as torchvision and timm do it, bit for bit: from all pixels at
    once, the sizes and offsets rounded as theirs. With the defaults large images are first shrunk by a whole factor,
    which is faster and differs by a grey level or two; `exact_resize` turns that off.

    Args:
        interpolation: antialiased filter: nearest (not antialiased), bilinear, bicubic or lanczos.
        resize: what becomes of an image that is no square. crop: the shorter side is resized, the centre is kept; pad:
            the longer side is resized, borders are filled; stretch: both sides are resized.
        crop_share: of the side in (0, 1] that the centre crop keeps: for a size of S, sides are resized to
            floor(S / crop_share) before S x S pixels are cut.
        alpha: what becomes of transparency. white, black: composed on that colour; drop: ignored, and every kind of
            image becomes RGB by PIL's own conversion, as torchvision's and timm's loaders do (16-bit grey is clipped).
        orientation: exif: the image is turned as its EXIF says; stored: it is taken as it is stored, as those loaders
            do.
        fill: red, green, blue of the borders of `pad`, in [0, 255].
        exact_resize: resize from all pixels at once under the default rules too; True under any others.
        channels: 1 for grey (ITU-R 601 luma of colours), 3 for red, green and blue, 4 for these and alpha, which is
            then kept as it is stored, opaque where there is none.

    Raises:
        ConfigurationError: for a name that is not among the choices, or a number out of range.

    Example:
        >>> from shallowdeep.data.image_rules import ImageRules
        >>> ImageRules(interpolation="bilinear", crop_share=0.875, alpha="drop").resized_side(224)
        256
    """

    interpolation: str = "bicubic"
    resize: str = "crop"
    crop_share: float = 1.0
    alpha: str = "white"
    orientation: str = "exif"
    fill: tuple[int, int, int] = (0, 0, 0)
    exact_resize: bool = False
    channels: int = 3

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                told = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise ConfigurationError(f"Expected {name} {told}, got {getattr(self, name)!r}")
        if isinstance(self.channels, bool) or self.channels not in CHANNELS:
            raise ConfigurationError(f"Expected 1, 3 or 4 channels of images in files, got {self.channels!r}")
        if not _is_number(self.crop_share) or not 0 < self.crop_share <= 1:
            raise ConfigurationError(f"Expected crop share in (0, 1], got {self.crop_share!r}")
        if not isinstance(self.exact_resize, bool):
            raise ConfigurationError(f"Expected exact_resize true or false, got {self.exact_resize!r}")
        object.__setattr__(self, "crop_share", float(self.crop_share))
        object.__setattr__(self, "fill", _colour(self.fill))
        others = (getattr(self, field.name) != field.default for field in fields(self) if field.name not in _APART)
        object.__setattr__(self, "exact_resize", self.exact_resize or any(others))

    def resized_side(self, size: int) -> int:
        """Return what a side is resized to before `size` pixels are cut: floor(size / crop_share), as timm does."""
        return math.floor(size / self.crop_share)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: those rules that are not the defaults."""
        changed = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
        values = {name: value for name, value in asdict(self).items() if name in changed}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageRules:
        """Return the rules in a JSON document; those that it leaves out are the defaults.

        Raises:
            ConfigurationError: for a key that is no rule, or a value that is none of its choices.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise ConfigurationError(f"Expected rules of images among {', '.join(known)}, got {', '.join(unknown)}")
        return cls(**values)


_CHOICES = {"interpolation": INTERPOLATIONS, "resize": RESIZES, "alpha": ALPHAS, "orientation": ORIENTATIONS}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _colour(values: Sequence[int]) -> tuple[int, int, int]:
    """Return red, green, blue.

    Raises:
        ConfigurationError: if they are not three grey levels.
    """
    good = isinstance(values, Sequence) and not isinstance(values, str) and len(values) == _COLOURS
    if not good or not all(_is_number(value) and 0 <= value <= _GREY_LEVELS for value in values):
        raise ConfigurationError(f"Expected three numbers in [0, {_GREY_LEVELS}] as fill, got {values!r}")
    red, green, blue = (int(value) for value in values)
    return red, green, blue


DEFAULT_RULES = ImageRules()
"""Those of every run that names no others."""
