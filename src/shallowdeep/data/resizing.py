"""An image to a square as torchvision and timm resize it, bit for bit (PIL, no torch)."""

from __future__ import annotations

from PIL import Image

from shallowdeep.data.image_rules import ImageRules

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MOST_ELONGATED = 128  # longer side over shorter: the whole of a longer image would take hundreds of megabytes


def resized_exactly(image: Image.Image, size: int, rules: ImageRules) -> Image.Image:
    """Return an RGB image as `size` x `size` pixels.

    Args:
        image: in mode RGB.
        size: side of the result, in pixels.
        rules: crop is torchvision's `Resize(side)` (timm's "center"), stretch its `Resize((side, side))` ("squash"),
            each with `CenterCrop(size)` after it, where side is floor(size / crop_share); pad is timm's "border". Of an
            image more than 128 times as long as wide, crop resizes the centre alone, which may differ from theirs.
    """
    side = rules.resized_side(size)
    resample = _FILTERS[rules.interpolation]
    width, height = image.size
    if rules.resize == "stretch":
        return _centre(image.resize((side, side), resample), size)
    if rules.resize == "pad":
        ratio = max(width / side, height / side)
        whole = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        return _centre(_framed(image.resize(whole, resample), size, rules.fill), size)
    short, long = min(width, height), max(width, height)
    other = int(side * long / short)
    whole = (side, other) if width <= height else (other, side)
    if long <= _MOST_ELONGATED * short:
        return _centre(image.resize(whole, resample), size)
    left, top = _offset(whole[0], size), _offset(whole[1], size)
    across, down = width / whole[0], height / whole[1]
    box = (left * across, top * down, min(width, (left + size) * across), min(height, (top + size) * down))
    return image.resize((size, size), resample, box=box)


def _offset(side: int, size: int) -> int:
    """Return where a centre crop of `size` begins, rounded as torchvision does: halves to the even number."""
    return round((side - size) / 2)


def _centre(image: Image.Image, size: int) -> Image.Image:
    """Return the centre of an image that is large enough."""
    if image.size == (size, size):
        return image
    left, top = _offset(image.width, size), _offset(image.height, size)
    return image.crop((left, top, left + size, top + size))


def _framed(image: Image.Image, size: int, fill: tuple[int, int, int]) -> Image.Image:
    """Return an image with borders that make it at least `size` x `size`; an odd pixel goes right and below."""
    width, height = max(size, image.width), max(size, image.height)
    if (width, height) == image.size:
        return image
    page = Image.new("RGB", (width, height), fill)
    page.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return page
