"""Tiny ImageNet as its authors ship it: `wnids.txt`, `words.txt`, `train/WNID/images`, `val/val_annotations.txt`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from shallowdeep.data.image import image_files
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import DataError


def has_tiny_imagenet(root: Path) -> bool:
    """Return whether the directory is in the official layout."""
    return (root / "wnids.txt").is_file() and (root / "train").is_dir()


def read_tiny_imagenet(root: Path, name: str) -> Source:
    """Return the official training images, with the validation images as the test part (the test labels are secret).

    Classes stand in the order of `wnids.txt`, each called by the first word of its `words.txt` line, or by its
    WordNet id where there is no such line or the word stands for two classes.

    Raises:
        DataError: if a class has no images, or the annotations name an unknown class.
    """
    ids = (root / "wnids.txt").read_text(encoding="utf-8").split()
    position = {wnid: label for label, wnid in enumerate(ids)}
    paths: list[Path] = []
    labels: list[int] = []
    for wnid in ids:
        files = image_files(root / "train" / wnid)
        if not files:
            raise DataError(f"Expected images in {root / 'train' / wnid}, got none")
        paths += files
        labels += [position[wnid]] * len(files)
    train = Part(FileStore(paths), np.array(labels, dtype=np.int64))
    return Source(name, _class_names(root, ids), train, _read_validation(root, position), "tiny-imagenet")


def _read_validation(root: Path, position: dict[str, int]) -> Part | None:
    """Return the annotated validation images, or None where there is no `val` folder."""
    table = root / "val" / "val_annotations.txt"
    if not table.parent.is_dir():
        return None
    if not table.is_file():
        raise DataError(f"Expected val_annotations.txt in {table.parent}, got none")
    paths: list[Path] = []
    labels: list[int] = []
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        file, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0]
        if wnid not in position:
            raise DataError(f"Expected a class of wnids.txt on line {number} of {table}, got {wnid!r}")
        paths.append(root / "val" / "images" / file)
        labels.append(position[wnid])
    return Part(FileStore(paths), np.array(labels, dtype=np.int64))


def _class_names(root: Path, ids: list[str]) -> tuple[str, ...]:
    """Return one name per class."""
    words: dict[str, str] = {}
    table = root / "words.txt"
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            wnid, _, meaning = line.partition("\t")
            words[wnid] = meaning.split(",")[0].strip()
    names = [words.get(wnid) or wnid for wnid in ids]
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else wnid for name, wnid in zip(names, ids, strict=True))
