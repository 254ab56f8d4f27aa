"""Image files and PIL images as a network's input: the one way from a picture to numbers, of `predict` and the engine.

No torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.data.image import decode_image
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import DataError
from shallowdeep.machine import available_cores

Pixels = NDArray[np.uint8]
ImageSource: TypeAlias = str | os.PathLike[str] | Image.Image
"""Where one picture comes from: the path of a file, or an opened PIL image."""

ACCEPTED = "an array (N, C, H, W), or paths and PIL images"


def is_source(value: object) -> TypeGuard[ImageSource]:
    """Whether a value is the path of an image, or a PIL image."""
    return isinstance(value, (str, os.PathLike, Image.Image))


def sources_of(images: Any) -> list[ImageSource] | None:  # noqa: ANN401 - whatever a caller gives
    """Return the pictures that were given: one alone, or a list of them; None for an array.

    Raises:
        DataError: neither; names what is accepted.
    """
    if is_source(images):
        return [images]
    if isinstance(images, (list, tuple)):
        strange = next(((place, value) for place, value in enumerate(images) if not is_source(value)), None)
        if strange is None:
            return list(images)
        place, value = strange
        raise DataError(f"Expected {ACCEPTED}, got a {type(images).__name__} with {_named(value)} at place {place}")
    if hasattr(images, "shape") and hasattr(images, "dtype"):
        return None
    raise DataError(f"Expected {ACCEPTED}, got {_named(images)}")


def decode_source(source: ImageSource, preprocessing: Preprocessing) -> Pixels:
    """Return one picture as the pixels a network sees, (H, W, C) uint8, by the rules of `decode_image`.

    A PIL image follows the same rules and is left as it is. A large JPEG is decoded at a fraction of its size from a
    file, and at full size as a PIL image, so that its pixels may differ by a grey level or so.

    Raises:
        BadImageError: it cannot be read or decoded.
    """
    if isinstance(source, Image.Image):
        return decode_image(source, preprocessing.size, preprocessing.rules)
    return decode_image(Path(source), preprocessing.size, preprocessing.rules)


def network_input(pixels: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return decoded pictures, each (H, W, C), as network input (N, C, H, W) float32."""
    if not pixels:
        return np.zeros((0, *preprocessing.shape), dtype=np.float32)
    return preprocessing.normalize_array(np.stack(pixels).transpose(0, 3, 1, 2))


def read_images(sources: Sequence[ImageSource], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return pictures as network input (N, C, H, W) float32, decoded by one thread a core.

    Raises:
        BadImageError: one cannot be read or decoded.
    """
    if len(sources) < 2:  # noqa: PLR2004 - one needs no threads
        return network_input([decode_source(source, preprocessing) for source in sources], preprocessing)
    with ThreadPoolExecutor(min(len(sources), available_cores())) as decoders:
        pixels = list(decoders.map(lambda source: decode_source(source, preprocessing), sources))
    return network_input(pixels, preprocessing)


def _named(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
