"""Image folders: `train/CLASS/*` and optional `test/CLASS/*`, or `CLASS/*`; optional `calibration/CLASS/*` beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shallowdeep.data.image import image_files, is_hidden
from shallowdeep.data.sources.part_names import (
    CALIBRATION,
    TEST,
    TRAIN,
    VALIDATION,
    part_of_folder,
    tested_on,
)
from shallowdeep.data.sources.source import HIDDEN, LEAST_CLASSES, Part, Source
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import DataError, first_few

CALIBRATION_FOLDER = CALIBRATION


def read_image_folder(root: Path, name: str) -> Source:
    """Return the dataset of an image folder; classes are its sub-folders in alphabetical order.

    The training part is `train` or `training`, in any case, or the root itself. Beside it the test part is `test` or
    `testing`, or else `val`, `valid`, `validation` or `dev`; the calibration part is `calibration`. Beside classes
    without a `train`, `calibration` is a part only if it has a folder named as one of them, else it is a class too.
    Hidden files, what macOS packs beside them, and files without an image extension are ignored; a file or folder that
    links lead to twice counts once. Classes without images are left out, and so are images of a test part that lie in
    no class; the source's notes say so.

    Raises:
        DataError: if there are no classes, two folders for one part, or another part has a class that training has not.
    """
    folders = _part_folders(root)
    train_root = folders.get(TRAIN, root)
    names = _class_folders(train_root) if TRAIN in folders else _classes_beside_calibration(root, folders)
    files = {name: image_files(train_root / name) for name in names}
    classes = tuple(name for name in names if files[name])
    if not names:
        raise DataError(f"Expected Parquet files, IDX files, train/CLASS/* or CLASS/* images under {root}, got none")
    empty = [name for name in names if not files[name]]
    if empty and len(classes) < LEAST_CLASSES:
        raise DataError(f"Expected images in {train_root / empty[0]}, got none")
    notes = [f"No images in {first_few([str(train_root / name) for name in empty])}: left out"] if empty else []
    parts: dict[str, Part] = {}
    for what in (TEST, VALIDATION, CALIBRATION):
        if what in folders and (TRAIN in folders or (what == CALIBRATION and CALIBRATION not in names)):
            part, note = _other_part(folders[what], train_root, classes, set(empty))
            parts |= {} if part is None else {what: part}
            notes += note
    test, told = tested_on(parts)
    return Source(
        name,
        classes,
        _labelled({label: files[name] for label, name in enumerate(classes)}),
        test,
        calibration=parts.get(CALIBRATION),
        notes=(*notes, *told),
    )


def _part_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each part that has one; where there is no training folder, of calibration alone."""
    found: dict[str, Path] = {}
    for name in _class_folders(root):
        part = part_of_folder(name)
        if part and found.setdefault(part, root / name) != root / name:
            raise DataError(f"Expected one folder for the {part} part, got {found[part]} and {root / name}")
    return found if TRAIN in found else {part: path for part, path in found.items() if part == CALIBRATION}


def _other_part(
    folder: Path, train_root: Path, classes: tuple[str, ...], empty: set[str]
) -> tuple[Part | None, list[str]]:
    """Return the part in a folder, with hidden labels where its images lie in no class, and what to say of it."""
    files = {name: image_files(folder / name) for name in _class_folders(folder)}
    unknown = sorted(name for name, inside in files.items() if name not in classes and (inside or name not in empty))
    loose = image_files(folder, deep=False)
    if loose and not set(files) & set(classes):
        return Part(FileStore(loose), np.full(len(loose), HIDDEN)), []
    if unknown:
        raise DataError(f"Expected the classes of {train_root} in {folder}, got {unknown[0]!r} besides")
    notes = [f"{len(loose):,} images lie in {folder} and in no class: left out"] if loose else []
    known = {classes.index(name): inside for name, inside in files.items() if inside and name in classes}
    return _labelled(known) if known else None, notes


def _classes_beside_calibration(root: Path, folders: dict[str, Path]) -> list[str]:
    """Return the names of the sub-folders, without `calibration` where that has one of the others' names in it."""
    names = _class_folders(root)
    if CALIBRATION not in folders:
        return names
    others = [name for name in names if name != folders[CALIBRATION].name]
    return others if set(_class_folders(folders[CALIBRATION])) & set(others) else names


def _class_folders(root: Path) -> list[str]:
    """Return the names of the sub-folders that are not hidden."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def _labelled(files: dict[int, list[Path]]) -> Part:
    """Return images of some classes, by label."""
    paths = [path for inside in files.values() for path in inside]
    labels = np.repeat(np.array(list(files), dtype=np.int64), [len(inside) for inside in files.values()])
    return Part(FileStore(paths), labels)
