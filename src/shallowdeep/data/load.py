"""From a name or a path to four seeded, disjoint splits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from shallowdeep.data.any_preprocessing import AnyPreprocessing
from shallowdeep.data.data_splits import (
    Cut,
    DataSplits,
    Fingerprints,
    check_fractions,
    fingerprint_of,
    samples_fingerprint,
)
from shallowdeep.data.decoded import DecodedImages
from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load_text import load_texts
from shallowdeep.data.measure import choose_size, measure_normalization
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.data.sources.registry import open_source
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.splits import cut_calibration, cut_held_out, stratified_split
from shallowdeep.data.text import TextPreprocessing
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.image_size import Size, size_from
from shallowdeep.progress import SILENT, Progress

MEMORY_BUDGET = 2 * 2**30
"""Bytes of decoded images, over all splits together, that stay in memory (2 GiB)."""

_ENCODED_SHARE = 4  # a quarter of the budget may hold encoded images besides


def load_dataset(
    name_or_path: str | Path,
    *,
    image_size: int | str | Sequence[int],
    seed: int = 0,
    calibration_fraction: float = 0.1,
    test_fraction: float = 0.2,
    skip_bad_images: bool = False,
    memory_budget: int = MEMORY_BUDGET,
    preprocessing: AnyPreprocessing | None = None,
    text_column: str = "",
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
            and std are measured on the training split, rounded to 4 decimals. That of a network of text makes this
            `load_texts`.
        text_column: of tables with texts; "" for a usual name.
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
    if isinstance(preprocessing, TextPreprocessing):
        return load_texts(
            name_or_path, preprocessing=preprocessing, seed=seed, calibration_fraction=calibration_fraction,
            test_fraction=test_fraction, text_column=text_column, progress=progress,
        )  # fmt: skip
    sizes = _candidate_sizes(image_size)
    check_fractions(calibration_fraction, test_fraction)
    source = open_source(name_or_path, encoded_memory=memory_budget // _ENCODED_SHARE)
    if source.text:
        raise DataError(f"Expected images for this network, got texts in {name_or_path}")
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
        fingerprints=Fingerprints(fingerprint_of(cuts), samples_fingerprint(_parts(source))),
        notes=source.notes,
    )


def dataset_classes(name_or_path: str | Path) -> tuple[str, ...]:
    """Return a dataset's class names without reading an image.

    Raises:
        UnknownNameError: if the dataset is neither a name nor an existing path.
        DataError: if it cannot be read as one.
    """
    return open_source(name_or_path, encoded_memory=0).classes


def _cut(source: Source, seed: int, calibration: float, test: float) -> dict[str, Cut]:
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
        "train": Cut(train, rest),
        "tune": Cut(held_out, tune),
        "certify": Cut(held_out, certify),
        "calibration": Cut(held_out, np.sort(np.concatenate([tune, certify]))),
        "test": Cut(test_part, tested),
        "all": Cut(test_part, np.arange(len(test_part.labels))),
    }


def _parts(source: Source) -> list[Part]:
    """Return the parts that the source has."""
    return [part for part in (source.train, source.test, source.calibration) if part is not None]


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
