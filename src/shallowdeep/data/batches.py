"""One epoch of a split as batches of network input."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from shallowdeep.data.any_preprocessing import AnyPreprocessing
from shallowdeep.data.augmentation import Augmentation, augment, draw
from shallowdeep.data.image_split import Decoded, Fetched, ImageSplit
from shallowdeep.data.splits import Indices, seed_sequence, seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.image_size import shown_size

WORKERS = 2  # processes that decode, unless asked for otherwise
_ORDER, _AUGMENT, _BATCHES = 0, 1, 2  # keep the random streams of an epoch apart
_POOL = 50  # batches among whose texts those of a length are put together


class Batches:
    """One epoch: (images, labels) with images (B, 3, S, S) float32 normalised and labels (B,) int64.

    Of a text dataset "images" are token ids (B, L) int64, padded to the longest of the batch; shuffled batches hold
    texts of about one length.

    Order and augmentation depend on (seed, epoch, step) and on nothing else: neither on workers, nor on the number of
    devices, nor on whether the split is resident. Each of `world_size` devices gets its contiguous share of every
    global batch, with the share of the random numbers drawn for all of it. A batch that bad images leave empty is left
    out, unless there are several devices, which must stay in step.

    Args:
        split: the images.
        preprocessing: how they are normalised.
        batch_size: of the global batch.
        shuffle: draw a new order each epoch.
        seed: of order and augmentation; non-negative.
        epoch: which one, from 0.
        augmentation: what happens to the images, or None.
        drop_last: leave out the last, incomplete batch. A split smaller than one batch is one (smaller) batch.
        rank: which device this is, in [0, world_size).
        world_size: how many devices share a batch.
        workers: processes that decode a split that is not resident; 0 decodes in this one.
        channels_last: memory format of the images; the values are the same.
        device: where images are augmented and normalised, and where batches end up.

    Raises:
        ConfigurationError: if a setting is out of range, or `drop_last` batches do not divide among the devices.

    Example:
        >>> import shallowdeep
        >>> data = shallowdeep.load_dataset("mnist5k", image_size=8)
        >>> images, labels = next(iter(shallowdeep.Batches(data.tune, data.preprocessing, batch_size=4)))
        >>> images.shape, labels.shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4]))
    """

    def __init__(
        self,
        split: ImageSplit,
        preprocessing: AnyPreprocessing,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        augmentation: Augmentation | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        workers: int = WORKERS,
        channels_last: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise ConfigurationError(f"Expected batch size of at least 1, got {batch_size}")
        if not 0 <= rank < world_size:
            raise ConfigurationError(f"Expected rank in [0, {world_size - 1}], got {rank}")
        if workers < 0:
            raise ConfigurationError(f"Expected at least 0 workers, got {workers}")
        if preprocessing.size != split.size:
            raise ConfigurationError(
                f"Expected preprocessing for {shown_size(split.size)} pixels, got {shown_size(preprocessing.size)}"
            )
        if drop_last:
            batch_size = _whole_batch(batch_size, len(split), world_size)
        self.batch_size = batch_size
        self._split = split
        self._preprocessing = preprocessing
        self._shuffle = shuffle
        self._seed = seed
        self._epoch = epoch
        self._augmentation = augmentation
        self._drop_last = drop_last
        self._rank = rank
        self._world_size = world_size
        self._workers = workers if "fork" in multiprocessing.get_all_start_methods() else 0
        self._channels_last = channels_last
        self._device = torch.device(device)

    def __len__(self) -> int:
        """Return the number of batches."""
        whole, rest = divmod(len(self._split), self.batch_size)
        return whole + (rest > 0 and not self._drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this device's share of every batch.

        Raises:
            BadImageError: if an image cannot be decoded and bad images are not skipped.
        """
        plan = [self._share(step) for step in range(len(self))]
        order = self._order()
        requests = [order[share] for _, share in plan]
        for step, fetched in enumerate(self._fetch(requests)):
            if not len(fetched.labels) and self._world_size == 1:
                continue
            count, share = plan[step]
            yield self._finish(fetched, step, count, slice(share.start - step * self.batch_size, None))

    def _order(self) -> Indices:
        """Return the epoch's order of the split's indices."""
        if not self._shuffle:
            return np.arange(len(self._split))
        order = seeded_order(len(self._split), self._seed, self._epoch, _ORDER)
        lengths = self._split.lengths
        return order if lengths is None else self._by_length(order, lengths)

    def _by_length(self, order: Indices, lengths: Indices) -> Indices:
        """Return a shuffled order in which the texts of a batch are about as long as each other, so little is padding.

        Among the texts of many batches those of a length come together; the batches are shuffled again.
        """
        pool = self.batch_size * _POOL
        pieces = [order[start : start + pool] for start in range(0, len(order), pool)]
        sorted_ = np.concatenate([piece[np.argsort(lengths[piece], kind="stable")] for piece in pieces])
        whole = len(sorted_) // self.batch_size
        places = seeded_order(whole, self._seed, self._epoch, _BATCHES)
        batches = sorted_[: whole * self.batch_size].reshape(whole, self.batch_size)[places].reshape(-1)
        return np.concatenate([batches, sorted_[whole * self.batch_size :]])

    def _share(self, step: int) -> tuple[int, slice]:
        """Return the length of a global batch, and this device's slice of the epoch's order."""
        start = step * self.batch_size
        count = min(self.batch_size, len(self._split) - start)
        first, last = (count * rank // self._world_size for rank in (self._rank, self._rank + 1))
        return count, slice(start + first, start + last)

    def _fetch(self, requests: list[Indices]) -> Iterator[Fetched]:
        """Yield the images of each request, in order."""
        if self._split.resident or not self._workers or not requests:
            yield from map(self._split.fetch_kept, requests)
            return
        self._split.prepare()
        loader = DataLoader(
            _Decoding(self._split),
            batch_sampler=[request.tolist() for request in requests],
            num_workers=min(self._workers, len(requests)),
            collate_fn=_as_it_is,
            prefetch_factor=2,  # at most two decoded batches wait per worker
            multiprocessing_context="fork",  # workers share what `prepare` opened
            generator=torch.Generator(),  # without its own, a loader takes a number from the global stream
        )
        for request, decoded in zip(requests, loader, strict=True):
            yield self._split.receive(request, decoded)

    def _finish(self, fetched: Fetched, step: int, count: int, share: slice) -> tuple[Tensor, Tensor]:
        """Return network input; `share` is this device's part of the `count` images of the global batch."""
        images = fetched.images.to(self._device)
        if self._augmentation is not None:
            state = seed_sequence(self._seed, self._epoch, _AUGMENT, step).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
            numbers = draw(self._augmentation, count, self._split.size, generator)
            images = augment(images, numbers[share][fetched.kept], self._augmentation)
        is_map = images.dim() == len(("N", "C", "H", "W"))
        layout = torch.channels_last if self._channels_last and is_map else torch.contiguous_format
        images = images.contiguous(memory_format=layout)
        return self._preprocessing.normalize(images), fetched.labels.to(self._device)


class _Decoding(Dataset[Decoded]):
    """A split as worker processes see it."""

    def __init__(self, split: ImageSplit) -> None:
        self._split = split

    def __getitem__(self, index: int) -> Decoded:
        return self._split.decode([index])

    def __getitems__(self, indices: list[int]) -> Decoded:
        # The answer holds NumPy arrays, which travel through a pipe: tensors would need shared memory, of which
        # containers often have 64 MiB.
        return self._split.decode(indices)


def _as_it_is(decoded: Any) -> Any:  # noqa: ANN401 - the type a DataLoader asks for
    """Return what a worker decoded; it is a batch already."""
    return decoded


def _whole_batch(batch_size: int, images: int, world_size: int) -> int:
    """Return the size of `drop_last` batches: `batch_size`, or all the images where they are fewer.

    Raises:
        ConfigurationError: if the devices cannot share it equally.
    """
    if batch_size % world_size:
        raise ConfigurationError(f"Expected batch size divisible by {world_size} devices, got {batch_size}")
    if images >= batch_size:
        return batch_size
    if images < world_size:
        raise ConfigurationError(f"Expected at least one image for each of {world_size} devices, got {images}")
    return images - images % world_size
