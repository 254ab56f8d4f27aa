"""Held-out images of the user's own: labelled, new to a network, cut into tune and certify."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.data.sources.folder import CALIBRATION_FOLDER
from shallowdeep.data.sources.registry import open_source
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.splits import cut_held_out
from shallowdeep.errors import DataError
from shallowdeep.progress import SILENT, Progress


@dataclass(frozen=True)
class HeldOut:
    """Images for calibration.

    Attributes:
        name: of the folder.
        tune: a third of them: choices.
        certify: two thirds: read only by guarantees.
        fingerprint: SHA-256 of the cut and its labels.
    """

    name: str
    tune: ImageSplit
    certify: ImageSplit
    fingerprint: str


def load_held_out(
    path: str | Path,
    *,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    seed: int,
    skip_bad_images: bool = False,
    progress: Progress = SILENT,
) -> HeldOut:
    """Return held-out images, cut into tune and certify by seed and class.

    Args:
        path: a folder of CLASS/* images, or of Parquet files; of a dataset its calibration part.
        classes: C names of the network's classes; some may have no images.
        preprocessing: what the network wants of images.
        seed: of the cut; non-negative.
        skip_bad_images: leave unreadable images out instead of raising.
        progress: told how far decoding is.

    Raises:
        UnknownNameError: neither a name nor a path that exists.
        DataError: it cannot be read, it has a class that the network has not, or it is a whole dataset with training
            and test images.
    """
    folder = Path(path).expanduser() / CALIBRATION_FOLDER
    source = open_source(folder if folder.is_dir() else path, encoded_memory=0)
    name = Path(path).expanduser().resolve().name if folder.is_dir() else source.name
    part = _held_out_part(source, path)
    unknown = sorted(set(source.classes) - set(classes))
    if unknown:
        raise DataError(f"Expected the network's classes ({', '.join(classes[:3])} ...) in {path}, got {unknown[0]!r}")
    labels = np.asarray([classes.index(name) for name in source.classes], dtype=np.int64)[part.labels]
    cuts = dict(zip(("tune", "certify"), cut_held_out(labels, seed), strict=True))
    digest = hashlib.sha256()
    for split, positions in cuts.items():
        digest.update(f"{split} {len(positions)}\n".encode() + positions.astype("<i8").tobytes())
        digest.update(labels[positions].astype("<i8").tobytes())
    tune, certify = (
        ImageSplit(
            split, part.images, positions, labels[positions],
            size=preprocessing.size, rules=preprocessing.rules, decoded=None, skip_bad_images=skip_bad_images,
            progress=progress,
        )
        for split, positions in cuts.items()
    )  # fmt: skip
    return HeldOut(name, tune, certify, digest.hexdigest())


def shared_images(splits: Sequence[ImageSplit], other: ImageSplit) -> list[str]:
    """Return the names of images that another split has too, byte for byte.

    Args:
        splits: that should have none in common with it.
        other: such as what the network was trained on.
    """
    known = {hashlib.sha256(content).digest() for content in other.contents()}
    return [
        split.image_name(place)
        for split in splits
        for place, content in enumerate(split.contents())
        if hashlib.sha256(content).digest() in known
    ]


def _held_out_part(source: Source, path: str | Path) -> Part:
    """Return the source's calibration part, or all its images where it is no more than a folder of classes."""
    if source.calibration is not None:
        return source.calibration
    if source.test is not None:
        raise DataError(
            f"Expected held-out images in {path}, as CLASS/* or {CALIBRATION_FOLDER}/CLASS/*, got training and test "
            "images"
        )
    return source.train
