"""One image file to one array: the same function in training and in prediction (PIL and NumPy, no torch)."""

from __future__ import annotations

import functools
import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.resizing import resized_exactly
from shallowdeep.errors import BadImageError

# What PIL's readers raise on damaged files; SyntaxError and struct.error come from its header parsers.
_DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    MemoryError,
    Image.DecompressionBombError,
)
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_REDUCING_GAP = 3.0  # PIL shrinks by whole factors first, and keeps 3x the final size for the bicubic filter


def decode_image(
    source: bytes | Path | Image.Image, size: int, rules: ImageRules = DEFAULT_RULES, name: str | None = None
) -> NDArray[np.uint8]:
    """Return one image as the square of RGB values a network sees.

    The default rules, for every file alike:

    - EXIF orientation is applied; of an animation, the first frame counts.
    - Grey is replicated to three channels; 16-bit grey is scaled from [0, 65535] to [0, 255] (a 32-bit integer image is
      read as 16-bit, clipped), a floating-point image from [0, 1]; palettes, CMYK and the like become RGB.
    - Transparency is composed on white, as a page shows it.
    - An image of `size` x `size` is left untouched. Any other has its shorter side resized to `size` with the
      antialiased bicubic filter, keeping its shape, and is cropped to its centre. Large ones are first shrunk by a
      whole factor (JPEG files while decoding), to no less than three times `size`. The borders that the crop removes
      are never resized: in a very elongated image they would be huge.

    Other rules are those of `ImageRules`; they resize as torchvision and timm do, bit for bit.

    Args:
        source: the bytes of an encoded image, the file that holds them, or a PIL image, which is left as it is.
        size: side of the result, in pixels.
        rules: how it is decoded and resized.
        name: what an error calls the image; the path if there is one.

    Returns:
        (size, size, 3), RGB.

    Raises:
        BadImageError: if the image cannot be read or decoded.
    """
    try:
        if isinstance(source, Image.Image):
            return _fitted(source, size, rules)
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            if not rules.exact_resize and min(image.size) >= 2 * _REDUCING_GAP * size:
                image.draft(None, (int(_REDUCING_GAP * size), int(_REDUCING_GAP * size)))  # JPEG decodes small at once
            return _fitted(image, size, rules)
    except _DECODE_ERRORS as error:
        raise BadImageError(_complaint(source, name, error)) from error


def image_dimensions(source: bytes | Path, name: str | None = None) -> tuple[int, int]:
    """Return (width, height) in pixels as the file's header tells, before EXIF orientation.

    Raises:
        BadImageError: if there is no header PIL knows.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.size
    except _DECODE_ERRORS as error:
        raise BadImageError(_complaint(source, name, error)) from error


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the extensions of the formats PIL can read, such as ".png"."""
    known = Image.registered_extensions()
    return frozenset(extension for extension, kind in known.items() if kind in Image.OPEN)


def image_files(folder: Path, *, deep: bool = True) -> list[Path]:
    """Return the image files in a folder, those of its sub-folders included where ``deep``, sorted.

    Links are followed, but not to a folder that they lie in, and no file or folder is met twice.
    """
    found: dict[str, Path] = {}
    met = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        inside = {entry: os.path.realpath(Path(parent, entry)) for entry in sorted(folders) if not is_hidden(entry)}
        folders[:] = [entry for entry, real in inside.items() if deep and real not in met and not _holds(real, place)]
        met.update(inside.values())
        for entry in sorted(files):
            path = Path(parent, entry)
            if not is_hidden(entry) and path.suffix.lower() in image_extensions():
                found.setdefault(os.path.realpath(path) if path.is_symlink() else f"{place}{os.sep}{entry}", path)
    return sorted(found.values())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's own: hidden, or what systems put beside images."""
    return name.startswith(".") or name in {"__MACOSX", "@eaDir", "$RECYCLE.BIN"}


def _holds(folder: str, place: str) -> bool:
    """Whether a folder is another, or above it."""
    return os.path.commonpath([folder, place]) == folder


def fit_image(image: Image.Image, size: int, rules: ImageRules = DEFAULT_RULES) -> NDArray[np.uint8]:
    """Return an opened image as (size, size, 3) uint8 RGB, by the rules of `decode_image` after orientation."""
    image = _to_rgb(image, rules.alpha)
    fitted = resized_exactly(image, size, rules) if rules.exact_resize else _resized_from_reduced(image, size)
    return np.array(fitted, dtype=np.uint8)


def _resized_from_reduced(image: Image.Image, size: int) -> Image.Image:
    """Return the centre of an RGB image, `size` x `size`; a large one is first shrunk by a whole factor."""
    width, height = image.size
    short = min(width, height)
    if (width, height) == (size, size):
        return image
    left, top = (width - short) // 2, (height - short) // 2
    box = (left, top, left + short, top + short)
    if short == size:
        return image.crop(box)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP)


def _fitted(image: Image.Image, size: int, rules: ImageRules) -> NDArray[np.uint8]:
    """Return an opened image as (size, size, 3) uint8 RGB, orientation included."""
    return fit_image(_upright(image) if rules.orientation == "exif" else image, size, rules)


def _upright(image: Image.Image) -> Image.Image:
    """Return the image with its EXIF orientation applied; unreadable EXIF is no reason to lose the image."""
    try:
        return ImageOps.exif_transpose(image) if _may_have_exif(image) else image
    except (SyntaxError, struct.error, KeyError, TypeError, IndexError, ZeroDivisionError):
        return image


def _may_have_exif(image: Image.Image) -> bool:
    """Tell cheaply whether orientation is worth a look: parsing it costs as much as decoding a small image."""
    return image.format not in {"JPEG", "MPO"} or "exif" in image.info


def _to_rgb(image: Image.Image, alpha: str) -> Image.Image:
    """Return the image in mode RGB, its transparency dropped or composed on the colour `alpha`."""
    if alpha == "drop":
        image.load()
        if "transparency" in image.info:  # no pixel depends on it, but PIL would warn of it
            image = image.copy()
            del image.info["transparency"]
        return image.convert("RGB")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT_MODES:
        wide = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        unit = np.nan_to_num(np.clip(np.asarray(image, dtype=np.float64), 0.0, 1.0))
        return Image.fromarray(np.rint(unit * 255).astype(np.uint8)).convert("RGB")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, alpha)
        return Image.alpha_composite(page, layer).convert("RGB")
    return image.convert("RGB")


def _complaint(source: bytes | Path | Image.Image, name: str | None, error: Exception) -> str:
    """Return the one line that says which image is bad and why."""
    what = name or _described(source)
    if isinstance(error, UnidentifiedImageError):
        reason = "no image format known here" if source != b"" else "no bytes"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    return f"Expected a readable image, got {what} ({reason})"


def _described(source: bytes | Path | Image.Image) -> str:
    """Return what an error calls a source that has no name."""
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or f"a PIL image of {source.width} x {source.height} pixels"
    return str(source) if isinstance(source, Path) else f"{len(source)} bytes"
