"""Where a training's batches come from: splits of a dataset, or loaders of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.batches import WORKERS, Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.progress import total_of
from shallowdeep.sdn.inputs import Inputs, moved

EVALUATION_BATCH = 250

Loader = Iterable[tuple[Inputs, Tensor]]
"""Batches of images (B, C, H, W) float, normalised, or of several inputs by name, and labels (B,) int64; gives a new
pass each time."""


class BatchSource(Protocol):
    """Batches to train on, and batches to look at how well it goes."""

    @property
    def skipped(self) -> int:
        """Images left out so far, since they could not be decoded."""

    def prepare(self) -> None:
        """Read what is needed before the first step, so that errors come early."""

    def steps(self, batch_size: int) -> int:
        """Steps in an epoch."""

    def batches(self, batch_size: int, epoch: int, rank: int, world_size: int, device: torch.device) -> Loader:
        """This process's images and labels in ``epoch`` (from 0)."""

    def tune(self, device: torch.device) -> Loader:
        """Held-out batches, without augmentation; none where there is nothing to look at."""


class SplitSource:
    """Splits of a dataset, shuffled and augmented by (seed, epoch) alone.

    Args:
        data: its splits; ``test`` and ``certify`` are not touched.
        seed: of order and augmentation.
        workers: processes that decode images which are not held in memory; 0 decodes in this one.
    """

    def __init__(self, data: DataSplits, seed: int, workers: int = WORKERS) -> None:
        self._data, self._seed, self._workers = data, seed, workers
        text = data.train.lengths is not None
        self._augmentation = None if text else get_augmentation(data.augmentation, data.preprocessing.size)

    @property
    def skipped(self) -> int:
        """Images left out so far, of the training split and of ``tune``."""
        return len(self._data.train.skipped) + len(self._data.tune.skipped)

    def prepare(self) -> None:
        """Decode ``tune`` where it stays in memory."""
        self._data.tune.prepare()

    def steps(self, batch_size: int) -> int:
        """Whole batches in an epoch; the rest of the images come in other epochs."""
        return max(1, len(self._data.train) // batch_size)

    def batches(self, batch_size: int, epoch: int, rank: int, world_size: int, device: torch.device) -> Loader:
        """A slice of every global batch."""
        return Batches(
            self._data.train, self._data.preprocessing, batch_size, shuffle=True, seed=self._seed, epoch=epoch,
            augmentation=self._augmentation, drop_last=True, rank=rank, world_size=world_size,
            workers=self._workers, device=device,
        )  # fmt: skip

    def tune(self, device: torch.device) -> Loader:
        """The split ``tune``."""
        return Batches(
            self._data.tune, self._data.preprocessing, EVALUATION_BATCH, workers=self._workers, device=device
        )


class LoaderSource:
    """Loaders of the user's own; order, batch size and augmentation are theirs.

    A loader that draws from torch's global generator, as a `torch.utils.data.DataLoader` does, gives the same order in
    a training that was resumed: the generator is seeded anew in every epoch. Of several processes each brings its own
    share.

    Args:
        train: re-iterable.
        tune: re-iterable, held-out images; None to look at nothing.

    Raises:
        ConfigurationError: an iterator, which gives one pass alone.
    """

    def __init__(self, train: Loader, tune: Loader | None = None) -> None:
        for what, loader in (("train_loader", train), ("tune_loader", tune)):
            if loader is not None and iter(loader) is loader:
                raise ConfigurationError(
                    f"Expected a {what} that can be iterated over again every epoch, such as a list or a DataLoader, "
                    f"got a {type(loader).__name__}, which gives one pass"
                )
        self._train, self._tune = train, tune
        self._steps = total_of(train)

    @property
    def skipped(self) -> int:
        """Loaders do not tell."""
        return 0

    def prepare(self) -> None:
        """Nothing to do."""

    def steps(self, batch_size: int) -> int:
        """As many as the loader has batches, counted in one pass where it has no length."""
        del batch_size
        if self._steps is None:
            self._steps = sum(1 for _ in self._train)
        if not self._steps:
            raise DataError("Expected at least one batch to train on, got none")
        return self._steps

    def batches(self, batch_size: int, epoch: int, rank: int, world_size: int, device: torch.device) -> Loader:
        """One pass over the loader."""
        del batch_size, epoch, rank, world_size
        return _moved(self._train, device)

    def tune(self, device: torch.device) -> Loader:
        """One pass over the held-out loader."""
        return _moved(self._tune or (), device)


def _moved(loader: Loader, device: torch.device) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches on a device.

    Raises:
        DataError: something else than pairs of tensors.
    """
    for batch in loader:
        known = isinstance(batch, (tuple, list)) and len(batch) == 2 and _are_inputs(batch[0])  # noqa: PLR2004 - a pair
        labels = batch[1] if known else None
        if not isinstance(labels, Tensor):
            raise DataError(f"Expected batches of (images, labels), two tensors, got {_described(batch)}")
        yield moved(batch[0], device), labels.to(device)


def _are_inputs(given: object) -> bool:
    """Whether something is a tensor, or tensors by name."""
    named = isinstance(given, Mapping) and bool(given) and all(isinstance(one, Tensor) for one in given.values())
    return isinstance(given, Tensor) or named


def _described(batch: object) -> str:
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    return f"a {type(batch).__name__}"
