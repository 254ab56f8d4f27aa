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
from shallowdeep.image_size import Size, sides

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
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by channels
_ALPHA_TOO = 4  # channels
_REDUCING_GAP = 3.0  # PIL shrinks by whole factors first, and keeps 3x the final size for the bicubic filter


def decode_image(
    source: bytes | Path | Image.Image, size: Size, rules: ImageRules = DEFAULT_RULES, name: str | None = None
) -> NDArray[np.uint8]:
    """Return one image as the rectangle of values a network sees.

    The default rules, for every file alike:

    - EXIF orientation is applied; of an animation, the first frame counts.
    - Grey is replicated to three channels; 16-bit grey is scaled from [0, 65535] to [0, 255] (a 32-bit integer image is
      read as 16-bit, clipped), a floating-point image from [0, 1]; palettes, CMYK and the like become RGB.
    - Transparency is composed on white, as a page shows it; where the network takes alpha, it is kept.
    - A network of one channel gets the luma of these colours, and grey as it is.
    - An image of the size asked for is left untouched. Any other is resized until it covers that size, with the
      antialiased bicubic filter, keeping its shape, and is cropped to its centre. Large ones are first shrunk by a
      whole factor (JPEG files while decoding), to no less than three times the size. The borders that the crop removes
      are never resized: in a very elongated image they would be huge.

    Other rules are those of `ImageRules`; they resize as torchvision and timm do, bit for bit.

    Args:
        source: the bytes of an encoded image, the file that holds them, or a PIL image, which is left as it is.
        size: of the result, in pixels.
        rules: how it is decoded and resized.
        name: what an error calls the image; the path if there is one.

    Returns:
        (H, W, C): RGB, grey or RGBA as the rules say.

    Raises:
        BadImageError: if the image cannot be read or decoded.
    """
    try:
        if isinstance(source, Image.Image):
            return _fitted(source, size, rules)
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            height, width = sides(size)
            if not rules.exact_resize and min(image.width / width, image.height / height) >= 2 * _REDUCING_GAP:
                image.draft(None, (int(_REDUCING_GAP * width), int(_REDUCING_GAP * height)))  # JPEG decodes small
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


def fit_image(image: Image.Image, size: Size, rules: ImageRules = DEFAULT_RULES) -> NDArray[np.uint8]:
    """Return an opened image as (H, W, C) uint8, by the rules of `decode_image` after orientation."""
    image = _with_channels(image, rules)
    fitted = resized_exactly(image, size, rules) if rules.exact_resize else _resized_from_reduced(image, size)
    pixels = np.array(fitted, dtype=np.uint8)
    return pixels if pixels.ndim > 2 else pixels[..., None]  # noqa: PLR2004 - one channel has no axis of its own


def _resized_from_reduced(image: Image.Image, size: Size) -> Image.Image:
    """Return the centre of an image at a size; a large one is first shrunk by a whole factor."""
    height, width = sides(size)
    if image.size == (width, height):
        return image
    if image.width * height <= image.height * width:  # its whole width is seen
        across, down = image.width, max(1, round(image.width * height / width))
    else:
        across, down = max(1, round(image.height * width / height)), image.height
    left, top = (image.width - across) // 2, (image.height - down) // 2
    box = (left, top, left + across, top + down)
    if (across, down) == (width, height):
        return image.crop(box)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP)


def _fitted(image: Image.Image, size: Size, rules: ImageRules) -> NDArray[np.uint8]:
    """Return an opened image as (H, W, C) uint8, orientation included."""
    return fit_image(_upright(image) if rules.orientation == "exif" else image, size, rules)


def _with_channels(image: Image.Image, rules: ImageRules) -> Image.Image:
    """Return the image in the mode of so many channels: grey, RGB, or RGBA."""
    if rules.channels == _ALPHA_TOO and image.mode not in {*_SIXTEEN_BIT_MODES, "F"}:
        return image.convert("RGBA")
    coloured, mode = _to_rgb(image, rules.alpha), _MODES[rules.channels]
    return coloured if coloured.mode == mode else coloured.convert(mode)


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
