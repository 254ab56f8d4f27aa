"""A RUN's data, read when it is first wanted, and the images of samples that were predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.errors import CheckpointError, ConfigurationError, DataError, UnknownNameError
from shallowdeep.runs.skipped_images import Names, skipped_names
from shallowdeep.runs.splits import own_splits
from shallowdeep.sdn.network import ShallowDeepNetwork

UNREADABLE = (DataError, UnknownNameError, ConfigurationError, CheckpointError)
"""What says that a run's data is not there any more, or is no longer what it was."""

Images = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Places (n,) of samples to their images (n, H, W, 3)."""


class LazySplits:
    """A run's data, read when it is first wanted: predictions that are stored need none.

    Args:
        run: a RUN.
        network: its own.
        context: how the data is read.
        data: where it is now; None for where it was.
    """

    def __init__(self, run: Path, network: ShallowDeepNetwork, context: RunContext, data: str | None = None) -> None:
        self._run, self._network, self._context, self._data = run, network, context, data
        self._known: DataSplits | None = None

    def read(self) -> DataSplits:
        """The splits.

        Raises:
            ShallowDeepError: the data cannot be read, or is no longer what it was.
        """
        if self._data is None and not (self._run / CONFIG).exists():
            raise ConfigurationError(
                f"Expected {CONFIG} in {self._run}, which says what it was trained on, or --data, found neither"
            )
        if self._known is None:
            self._known = own_splits(self._run, self._network, self._data, context=self._context)
        return self._known

    def skipped(self) -> dict[str, Names]:
        """Names of the images that were left out so far, by split; none where nothing was read."""
        known = self._known
        return {} if known is None else skipped_names(known.train, known.tune, known.certify, known.test)


def images_of(splits: LazySplits, name: str, samples: int) -> Images | None:
    """Return how to fetch the samples' images, or their texts; None where the data cannot be read."""
    try:
        part = splits.read().split(name)
    except UNREADABLE:
        return None
    kept = _kept(part, samples)

    def fetch(places: NDArray[np.int64]) -> NDArray[Any]:
        if part.lengths is not None:
            return np.array([part.text(int(place)) for place in kept[places]], dtype=object)
        images, _ = part.subset(kept[places]).fetch(np.arange(len(places)))
        pixels: NDArray[np.uint8] = images.permute(0, 2, 3, 1).numpy()
        return pixels

    return fetch


def _kept(part: ImageSplit, samples: int) -> NDArray[np.int64]:
    """Return the places in a split of the samples predicted: all, or those that could be decoded."""
    if samples == len(part):
        return np.arange(samples)
    kept: NDArray[np.int64] = part.fetch_kept(np.arange(len(part))).kept.numpy()
    return kept
