"""A dataset cut into the splits that every number of a report refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shallowdeep.data.any_preprocessing import AnyPreprocessing
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.sources.source import Part
from shallowdeep.data.splits import Indices
from shallowdeep.errors import ConfigurationError, UnknownNameError

_HASHED = 1_000  # images of a part that its fingerprint reads: all would take minutes on large folders
_SPLIT_NAMES = ("train", "tune", "certify", "test", "calibration")


class Fingerprints(NamedTuple):
    """What tells one cut of one copy of a dataset from others, whatever it is called.

    Attributes:
        splits: SHA-256 of the splits' indices and labels.
        images: SHA-256 of the bytes of up to 1,000 evenly spaced images of each part, as they are stored.
    """

    splits: str
    images: str


@dataclass(frozen=True)
class DataSplits:
    """A dataset cut into the splits that every number of a report refers to.

    Args:
        name: of the dataset: the name given, or the directory's.
        classes: C names; a label is an index into them.
        preprocessing: what turns its images into network input.
        train: what networks are trained on.
        tune: a third of the calibration split, which is cut from the training part or a part of its own: stopping,
            temperatures, fits, choices.
        certify: two thirds of the calibration split: read only by guarantees.
        test: never seen by training or calibration.
        all_images: the test part where the dataset has one, else every image; for networks that never saw it.
        augmentation: name of the preset that suits it, see `shallowdeep.data.augmentation`.
        fingerprints: of its splits and of its images.
        notes: what its source left out or read otherwise than one may think; a sentence each.
        certify_apart: whether certify has a part of its own, though it shares what is read with training.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: AnyPreprocessing
    train: ImageSplit
    tune: ImageSplit
    certify: ImageSplit
    test: ImageSplit
    calibration: ImageSplit
    all_images: ImageSplit
    augmentation: str
    fingerprints: Fingerprints
    notes: tuple[str, ...] = ()
    certify_apart: bool = False

    @property
    def cut_from(self) -> int | None:
        """How many images train, tune and certify were cut from; None where calibration has a part of its own."""
        shared = self.calibration.shares_part(self.train) and not self.certify_apart
        return len(self.train) + len(self.calibration) if shared else None

    def split(self, name: str) -> ImageSplit:
        """Return a split by its name: train, tune, certify, test, or calibration.

        Raises:
            UnknownNameError: for any other name.
        """
        splits = (self.train, self.tune, self.certify, self.test, self.calibration)
        for split in splits:
            if split.name == name:
                return split
        raise UnknownNameError("split", name, _SPLIT_NAMES)


def check_fractions(calibration: float, test: float) -> None:
    """Refuse shares to hold out that are out of range.

    Raises:
        ConfigurationError: naming the one.
    """
    for what, fraction in (("calibration", calibration), ("test", test)):
        if not 0 < fraction < 1:
            raise ConfigurationError(f"Expected {what} fraction in (0, 1), got {fraction}")


class Cut(NamedTuple):
    """A split: which images of which part."""

    part: Part
    positions: Indices


def fingerprint_of(cuts: Mapping[str, Cut]) -> str:
    """Return the SHA-256 of indices and labels, as little-endian 64-bit integers."""
    digest = hashlib.sha256()
    for name in ("train", "tune", "certify", "test"):
        part, positions = cuts[name]
        labels = part.labels[positions]
        digest.update(f"{name} {len(labels)}\n".encode())
        digest.update(positions.astype("<i8").tobytes())
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def samples_fingerprint(parts: Sequence[Part]) -> str:
    """Return the SHA-256 of images' bytes, or of texts, each behind its length."""
    digest = hashlib.sha256()
    for part in parts:
        part.images.prepare()
        count = len(part.images)
        for position in np.unique(np.linspace(0, count - 1, min(count, _HASHED)).astype(np.int64)).tolist():
            content = part.images.content(position)
            digest.update(f"{position} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
