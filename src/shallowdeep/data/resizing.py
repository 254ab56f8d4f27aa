"""An image to a size as torchvision and timm resize it, bit for bit (PIL, no torch)."""

from __future__ import annotations

from PIL import Image

from shallowdeep.data.image_rules import ImageRules
from shallowdeep.image_size import Size, sides

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MOST_ELONGATED = 128  # longer side over shorter: the whole of a longer image would take hundreds of megabytes


def resized_exactly(image: Image.Image, size: Size, rules: ImageRules) -> Image.Image:
    """Return an image at a size.

    Args:
        image: in mode L, RGB or RGBA.
        size: of the result, in pixels.
        rules: for squares crop is torchvision's `Resize(side)` (timm's "center"), stretch its `Resize((side, side))`
            ("squash"), each with `CenterCrop(size)` after it, where side is floor(size / crop_share); pad is timm's
            "border". Other rectangles likewise: crop covers them, pad fits into them. Of an image more than 128 times
            as elongated as the result, crop resizes the centre alone, which may differ from theirs.
    """
    height, width = sides(size)
    down, across = rules.resized_side(height), rules.resized_side(width)
    resample = _FILTERS[rules.interpolation]
    if rules.resize == "stretch":
        return _centre(image.resize((across, down), resample), size)
    if rules.resize == "pad":
        ratio = max(image.width / across, image.height / down)
        whole = (max(1, round(image.width / ratio)), max(1, round(image.height / ratio)))
        return _centre(_framed(image.resize(whole, resample), size, rules.fill), size)
    relative = image.width * down, image.height * across  # width and height, as if the result were a square
    if relative[0] <= relative[1]:
        whole = (across, int(across * image.height / image.width))
    else:
        whole = (int(down * image.width / image.height), down)
    if max(relative) <= _MOST_ELONGATED * min(relative):
        return _centre(image.resize(whole, resample), size)
    left, top = _offset(whole[0], width), _offset(whole[1], height)
    x, y = image.width / whole[0], image.height / whole[1]
    box = (left * x, top * y, min(image.width, (left + width) * x), min(image.height, (top + height) * y))
    return image.resize((width, height), resample, box=box)


def _offset(side: int, size: int) -> int:
    """Return where a centre crop of `size` begins, rounded as torchvision does: halves to the even number."""
    return round((side - size) / 2)


def _centre(image: Image.Image, size: Size) -> Image.Image:
    """Return the centre of an image that is large enough."""
    height, width = sides(size)
    if image.size == (width, height):
        return image
    left, top = _offset(image.width, width), _offset(image.height, height)
    return image.crop((left, top, left + width, top + height))


def _framed(image: Image.Image, size: Size, fill: tuple[int, int, int]) -> Image.Image:
    """Return an image with borders that make it at least of a size; an odd pixel goes right and below."""
    down, across = sides(size)
    width, height = max(across, image.width), max(down, image.height)
    if (width, height) == image.size:
        return image
    page = Image.new("RGB", (width, height), fill).convert(image.mode)
    page.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return page
