"""Image folders: `train/CLASS/*` with an optional `test/CLASS/*`, or `CLASS/*` alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shallowdeep.data.image import image_files
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import DataError

TEST_FOLDERS = ("test", "val", "valid", "validation")


def read_image_folder(root: Path, name: str) -> Source:
    """Return the dataset of an image folder; classes are its sub-folders in alphabetical order.

    The test part is `test`, or else `val`, `valid`, `validation`, where there is a `train`. Hidden files and files
    without an image extension are ignored.

    Raises:
        DataError: if there are no classes, a class has no images, or the test part has a class that training has not.
    """
    has_train = (root / "train").is_dir()
    train_root = root / "train" if has_train else root
    classes = _class_folders(train_root)
    if not classes:
        raise DataError(f"Expected Parquet files, IDX files or train/CLASS/* images under {root}, got none")
    train = _read_part(train_root, classes, classes)
    test_root = next((root / folder for folder in TEST_FOLDERS if has_train and (root / folder).is_dir()), None)
    test = None
    if test_root is not None:
        test_classes = _class_folders(test_root)
        unknown = sorted(set(test_classes) - set(classes))
        if unknown:
            raise DataError(f"Expected the classes of {train_root} in {test_root}, got {unknown[0]!r} besides")
        test = _read_part(test_root, test_classes, classes)
    return Source(name, tuple(classes), train, test)


def _class_folders(root: Path) -> list[str]:
    """Return the names of the sub-folders that are not hidden."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _read_part(root: Path, present: list[str], classes: list[str]) -> Part:
    """Return the images of the classes present, labelled by their place in `classes`."""
    paths: list[Path] = []
    labels: list[int] = []
    for folder in present:
        files = image_files(root / folder)
        if not files:
            raise DataError(f"Expected images in {root / folder}, got none")
        paths += files
        labels += [classes.index(folder)] * len(files)
    return Part(FileStore(paths), np.array(labels, dtype=np.int64))
