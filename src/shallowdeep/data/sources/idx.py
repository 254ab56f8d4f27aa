"""IDX files, the layout of MNIST and Fashion-MNIST: a header of big-endian sizes, then bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.sources.digits import pad_to_32
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import DataError

# Where Debian's package `dataset-fashion-mnist` puts the original files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_UNSIGNED_BYTE = 8
_LABEL_AXES, _IMAGE_AXES = 1, 3
_MNIST_SHAPE = (28, 28)


def has_idx(root: Path) -> bool:
    """Return whether the directory holds IDX training images."""
    return _find(root, "train-images-idx3-ubyte") is not None


def read_idx_folder(
    root: Path, *, name: str, classes: tuple[str, ...] | None = None, augmentation: str = "digits"
) -> Source:
    """Return the dataset of `train-images-idx3-ubyte[.gz]` and its three companions.

    28x28 images are padded with black to 32x32, others stay as they are.

    Args:
        root: the directory.
        name: of the dataset.
        classes: names; "0", "1" ... without.
        augmentation: the preset that suits it.

    Raises:
        DataError: if a file is missing, damaged, or does not fit its companion.
    """
    train = _read_part(root, "train", required=True)
    test = _read_part(root, "t10k", required=False)
    if train is None:
        raise DataError(f"Expected train-images-idx3-ubyte under {root}, got none")
    names = classes or tuple(str(label) for label in range(int(train.labels.max(initial=-1)) + 1))
    return Source(name, names, train, test, augmentation)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of one IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: if it cannot be read, is of another type, or is longer or shorter than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{axes}I", content, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"Expected an IDX file, got {path} ({error})") from error
    if zeros != 0 or kind != _UNSIGNED_BYTE:
        raise DataError(f"Expected an IDX file of unsigned bytes, got {path} with type {kind:#04x}")
    start = 4 + 4 * axes
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - start != expected:
        raise DataError(f"Expected {expected} bytes after the header of {path}, got {len(content) - start}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _read_part(root: Path, prefix: str, *, required: bool) -> Part | None:
    """Return one part, or None where it is not required and has no images."""
    image_path = _find(root, f"{prefix}-images-idx3-ubyte")
    if image_path is None and not required:
        return None
    label_path = _find(root, f"{prefix}-labels-idx1-ubyte")
    if image_path is None or label_path is None:
        raise DataError(f"Expected {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte under {root}, got one")
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != _IMAGE_AXES or labels.ndim != _LABEL_AXES or len(images) != len(labels):
        raise DataError(
            f"Expected images (N, H, W) and labels (N,), got {images.shape} in {image_path.name} "
            f"and {labels.shape} in {label_path.name}"
        )
    if images.shape[1:] == _MNIST_SHAPE:
        images = pad_to_32(images)
    return Part(ArrayStore(images, image_path.name), labels.astype(np.int64))


def _find(root: Path, stem: str) -> Path | None:
    """Return the file with that stem, compressed or not."""
    return next((path for path in (root / stem, root / f"{stem}.gz") if path.is_file()), None)
