"""From a name or a path to four seeded, disjoint splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shallowdeep.data.decoded import DecodedImages
from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.measure import choose_size, measure_normalization
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.data.sources.registry import open_source
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.splits import Indices, cut_calibration, cut_held_out, stratified_split
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.image_size import Size, size_from
from shallowdeep.progress import SILENT, Progress

MEMORY_BUDGET = 2 * 2**30
"""Bytes of decoded images, over all splits together, that stay in memory (2 GiB)."""

_ENCODED_SHARE = 4  # a quarter of the budget may hold encoded images besides
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
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    train: ImageSplit
    tune: ImageSplit
    certify: ImageSplit
    test: ImageSplit
    calibration: ImageSplit
    all_images: ImageSplit
    augmentation: str
    fingerprints: Fingerprints
    notes: tuple[str, ...] = ()

    @property
    def cut_from(self) -> int | None:
        """How many images train, tune and certify were cut from; None where calibration has a part of its own."""
        shared = self.calibration.shares_part(self.train)
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


def load_dataset(
    name_or_path: str | Path,
    *,
    image_size: int | str | Sequence[int],
    seed: int = 0,
    calibration_fraction: float = 0.1,
    test_fraction: float = 0.2,
    skip_bad_images: bool = False,
    memory_budget: int = MEMORY_BUDGET,
    preprocessing: Preprocessing | None = None,
    rules: ImageRules = DEFAULT_RULES,
    progress: Progress = SILENT,
) -> DataSplits:
    """Return a dataset's splits; the same arguments give the same splits on every machine.

    Splits are cut before anything is decoded, and do not depend on images that turn out to be unreadable. Images stay
    in memory once decoded if all splits together fit `memory_budget` (N * C * H * W bytes); else they are decoded from
    disk at every use. Besides, encoded images of Parquet files take at most a quarter of it.

    Args:
        name_or_path: a name of `describe_datasets`, or a directory of Parquet files, images, or IDX files.
        image_size: side of the network's input in pixels, "96x160" (height first), or sides to choose from: the one
            nearest the median shorter side of at most 1,000 evenly spaced training images (the smaller one where two
            are as near).
        seed: of the splits; non-negative.
        calibration_fraction: of the training part, held out for calibration, in (0, 1); without effect where the
            dataset has a calibration part of its own.
        test_fraction: of all images, held out as test where the dataset has no test part, in (0, 1).
        skip_bad_images: leave unreadable images out, and name them in `skipped`, instead of raising.
        memory_budget: bytes, see above.
        preprocessing: of a saved run; it is used as it is, and `image_size` and `rules` are ignored. Without it, mean
            and std are measured on the training split, rounded to 4 decimals.
        rules: how images are decoded and resized.
        progress: told how far decoding is.

    Raises:
        UnknownNameError: if the dataset is neither a name nor an existing path.
        ConfigurationError: if a fraction, size or seed is out of range.
        DataError: if the dataset cannot be read as one.
        BadImageError: if an image needed to measure the normalisation is unreadable and `skip_bad_images` is off.

    Example:
        >>> import shallowdeep
        >>> data = shallowdeep.load_dataset("mnist5k", image_size=32)
        >>> len(data.train), len(data.tune), len(data.certify), len(data.test)
        (3600, 133, 267, 1000)
    """
    sizes = _candidate_sizes(image_size)
    for what, fraction in (("calibration", calibration_fraction), ("test", test_fraction)):
        if not 0 < fraction < 1:
            raise ConfigurationError(f"Expected {what} fraction in (0, 1), got {fraction}")
    source = open_source(name_or_path, encoded_memory=memory_budget // _ENCODED_SHARE)
    cuts = _cut(source, seed, calibration_fraction, test_fraction)
    if preprocessing is None:
        trained_on = cuts["train"].positions
        size = choose_size(source.train.images, trained_on, sizes)
        mean, std = measure_normalization(
            source.train.images, trained_on, size, rules=rules, skip_bad_images=skip_bad_images
        )
        preprocessing = Preprocessing(size, mean, std, rules)
    size, rules = preprocessing.size, preprocessing.rules
    resident = sum(len(part.labels) for part in _parts(source)) * prod(preprocessing.shape) <= memory_budget
    shared = {id(part): DecodedImages(part.images, size, rules) for part in _parts(source) if resident}

    def build(name: str) -> ImageSplit:
        part, positions = cuts[name]
        return ImageSplit(
            name,
            part.images,
            positions,
            part.labels[positions],
            size=size,
            decoded=shared.get(id(part)),
            rules=rules,
            skip_bad_images=skip_bad_images,
            progress=progress,
        )

    return DataSplits(
        name=source.name,
        classes=source.classes,
        preprocessing=preprocessing,
        train=build("train"),
        tune=build("tune"),
        certify=build("certify"),
        test=build("test"),
        calibration=build("calibration"),
        all_images=build("all"),
        augmentation=source.augmentation,
        fingerprints=Fingerprints(_fingerprint(cuts), _images_fingerprint(source)),
        notes=source.notes,
    )


def dataset_classes(name_or_path: str | Path) -> tuple[str, ...]:
    """Return a dataset's class names without reading an image.

    Raises:
        UnknownNameError: if the dataset is neither a name nor an existing path.
        DataError: if it cannot be read as one.
    """
    return open_source(name_or_path, encoded_memory=0).classes


class _Cut(NamedTuple):
    """A split: which images of which part."""

    part: Part
    positions: Indices


def _cut(source: Source, seed: int, calibration: float, test: float) -> dict[str, _Cut]:
    """Return every split by its name, "all" among them."""
    train, held_out = source.train, source.calibration
    if source.test is None:
        rest, tested = stratified_split(train.labels, test, seed, what="test fraction")
        test_part = train
    else:
        rest, tested = np.arange(len(train.labels)), np.arange(len(source.test.labels))
        test_part = source.test
    if held_out is None:
        held_out = train
        rest, tune, certify = (rest[cut] for cut in cut_calibration(train.labels[rest], calibration, seed))
    else:
        tune, certify = cut_held_out(held_out.labels, seed)
    return {
        "train": _Cut(train, rest),
        "tune": _Cut(held_out, tune),
        "certify": _Cut(held_out, certify),
        "calibration": _Cut(held_out, np.sort(np.concatenate([tune, certify]))),
        "test": _Cut(test_part, tested),
        "all": _Cut(test_part, np.arange(len(test_part.labels))),
    }


def _parts(source: Source) -> list[Part]:
    """Return the parts that the source has."""
    return [part for part in (source.train, source.test, source.calibration) if part is not None]


def _fingerprint(cuts: dict[str, _Cut]) -> str:
    """Return the SHA-256 of indices and labels, as little-endian 64-bit integers."""
    digest = hashlib.sha256()
    for name in ("train", "tune", "certify", "test"):
        part, positions = cuts[name]
        labels = part.labels[positions]
        digest.update(f"{name} {len(labels)}\n".encode())
        digest.update(positions.astype("<i8").tobytes())
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _images_fingerprint(source: Source) -> str:
    """Return the SHA-256 of images' bytes, each behind its length."""
    digest = hashlib.sha256()
    for part in _parts(source):
        part.images.prepare()
        count = len(part.images)
        for position in np.unique(np.linspace(0, count - 1, min(count, _HASHED)).astype(np.int64)).tolist():
            content = part.images.content(position)
            digest.update(f"{position} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _candidate_sizes(image_size: int | str | Sequence[int]) -> tuple[Size, ...]:
    """Return the sizes to choose from.

    Raises:
        ConfigurationError: if there is none, or one is not positive.
    """
    given = (image_size,) if isinstance(image_size, (int, str)) else tuple(image_size)
    sizes = tuple(size_from(size) for size in given)
    if not sizes:
        raise ConfigurationError(f"Expected image size of at least 1 pixel, got {image_size}")
    return sizes
