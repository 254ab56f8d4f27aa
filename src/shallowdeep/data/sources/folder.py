"""Image folders: `train/CLASS/*` and optional `test/CLASS/*`, or `CLASS/*`; optional `calibration/CLASS/*` beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shallowdeep.data.image import image_files
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import DataError

TEST_FOLDERS = ("test", "val", "valid", "validation")
CALIBRATION_FOLDER = "calibration"


def read_image_folder(root: Path, name: str) -> Source:
    """Return the dataset of an image folder; classes are its sub-folders in alphabetical order.

    The test part is `test`, or else `val`, `valid`, `validation`, where there is a `train`. The calibration part is
    `calibration`; beside classes without a `train`, only if it has a folder named as one of them, else it is a class
    too. Hidden files and files without an image extension are ignored.

    Raises:
        DataError: if there are no classes, a class has no images, or another part has a class that training has not.
    """
    has_train = (root / "train").is_dir()
    train_root = root / "train" if has_train else root
    classes = _class_folders(train_root) if has_train else _classes_beside_calibration(root)
    if not classes:
        raise DataError(f"Expected Parquet files, IDX files, train/CLASS/* or CLASS/* images under {root}, got none")
    train = _read_part(train_root, classes, classes)
    test = _other_part(root, TEST_FOLDERS, train_root, classes) if has_train else None
    has_calibration = has_train or CALIBRATION_FOLDER not in classes
    calibration = _other_part(root, (CALIBRATION_FOLDER,), train_root, classes) if has_calibration else None
    return Source(name, tuple(classes), train, test, calibration=calibration)


def _other_part(root: Path, names: Sequence[str], train_root: Path, classes: list[str]) -> Part | None:
    """Return the part in the first of the folders that is there, of classes that training has; None for none."""
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        return None
    present = _class_folders(folder)
    unknown = sorted(set(present) - set(classes))
    if unknown:
        raise DataError(f"Expected the classes of {train_root} in {folder}, got {unknown[0]!r} besides")
    return _read_part(folder, present, classes)


def _classes_beside_calibration(root: Path) -> list[str]:
    """Return the names of the sub-folders, without `calibration` where that has one of the others' names in it."""
    names = _class_folders(root)
    others = [name for name in names if name != CALIBRATION_FOLDER]
    if len(others) < len(names) and set(_class_folders(root / CALIBRATION_FOLDER)) & set(others):
        return others
    return names


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
