"""A dataset before it is split: images where they lie, labels, class names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.stores import ImageStore, TextStore
from shallowdeep.errors import DataError

HIDDEN = -1
"""The label of images whose class a dataset keeps to itself."""

LEAST_CLASSES = 2


@dataclass(frozen=True)
class Part:
    """The training or the test part as its source delivers it.

    Args:
        images: N images.
        labels: (N,) int64, in [0, C).
    """

    images: ImageStore
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """A dataset as its source delivers it.

    Args:
        name: what to call it.
        classes: C names; a label is an index into them.
        train: what training is cut from; tune and certify too, where there is no ``calibration``.
        test: the source's own test part, if it has one.
        augmentation: the preset that suits it.
        calibration: what tune and certify are cut from, where the source has a part for it.
        certify: what certify is, where the source has a part for it alone; tune is then cut from ``train``.
        notes: what was left out of it, or read otherwise than its user may think; a sentence each.

    Raises:
        DataError: if there are fewer than two classes, no images, or a label outside the classes.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part | None
    augmentation: str = "standard"
    calibration: Part | None = None
    certify: Part | None = None
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> bool:
        """Whether its samples are texts."""
        return isinstance(self.train.images, TextStore)

    @property
    def samples(self) -> str:
        """What its samples are called in the plural."""
        return "texts" if self.text else "images"

    def __post_init__(self) -> None:
        if len(self.classes) < LEAST_CLASSES:
            raise DataError(
                f"Expected at least {LEAST_CLASSES} classes, got {len(self.classes)} in {self.name}"
                + (f" ({self.classes[0]})" if self.classes else "")
            )
        named = (
            ("training", self.train),
            ("test", self.test),
            ("calibration", self.calibration),
            ("certify", self.certify),
        )
        for what, part in named:
            if part is None:
                continue
            if not len(part.labels):
                raise DataError(f"Expected {what} {self.samples} in {self.name}, got none")
            bad = np.flatnonzero((part.labels < 0) | (part.labels >= len(self.classes)))
            if len(bad):
                raise DataError(
                    f"Expected labels in [0, {len(self.classes) - 1}], got {part.labels[bad[0]]} "
                    f"at {part.images.name(int(bad[0]))}"
                )
