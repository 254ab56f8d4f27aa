"""The decoded images of one part of a dataset, in one tensor that its splits share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.splits import Indices
from shallowdeep.data.stores import ImageStore
from shallowdeep.errors import BadImageError
from shallowdeep.image_size import Size, sides
from shallowdeep.machine import available_cores
from shallowdeep.progress import SILENT, Progress

_UNKNOWN, _GOOD, _BAD = 0, 1, 2
_CHUNK = 64  # images per task: large enough to hide the pool, small enough for a smooth progress bar
_MAX_THREADS = 8


class DecodedImages:
    """N images of a part, each decoded at the first call that needs it.

    Training, tune and certify are cut from the same part, so they share one tensor, and so does the calibration split
    that joins two of them. Pages of the tensor that no split has asked for take no memory.

    Args:
        store: the images.
        size: of the decoded images, in pixels.
        rules: how they are decoded and resized.
    """

    def __init__(self, store: ImageStore, size: Size, rules: ImageRules = DEFAULT_RULES) -> None:
        self._store = store
        self._shape = (*sides(size), rules.channels)  # (H, W, C)
        self._size = size
        self._rules = rules
        self._pixels: Tensor | None = None  # (N, H, W, C): rows of one image lie together, and it is channels last
        self._state = np.zeros(len(store), dtype=np.uint8)

    def ensure(
        self,
        positions: Indices,
        what: str,
        *,
        skip: bool,
        progress: Progress = SILENT,
    ) -> bool:
        """Decode those of the images that are not yet; return whether there were any.

        Args:
            positions: (B,) in [0, N).
            what: names the work for `progress`.
            skip: mark unreadable images as bad instead of raising.
            progress: told how many images are done.

        Raises:
            BadImageError: for the first unreadable image, if not skipped.
        """
        missing = positions[self._state[positions] != _GOOD]
        missing = missing[self._state[missing] != _BAD] if skip else missing
        if not len(missing):
            return False
        if self._pixels is None:
            self._pixels = torch.empty((len(self._store), *self._shape), dtype=torch.uint8)
        self._store.prepare()
        chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
        with progress.start(f"reading {what}", "images", len(missing)) as bar:
            for count in self._decode_all(chunks, self._pixels.numpy(), skip=skip):
                bar.advance(count)
        return True

    def _decode_all(self, chunks: list[Indices], pixels: NDArray[np.uint8], *, skip: bool) -> Iterator[int]:
        """Yield the length of each chunk once it is decoded, in order, so that errors come in order too."""

        def decode(chunk: Indices) -> int:
            for position in chunk.tolist():
                try:
                    pixels[position] = self._store.decode(position, self._size, self._rules)
                except BadImageError:
                    if not skip:
                        raise
                    self._state[position] = _BAD
                else:
                    self._state[position] = _GOOD
            return len(chunk)

        pool = ThreadPoolExecutor(min(_MAX_THREADS, available_cores()))  # PIL decodes without the interpreter lock
        try:
            yield from pool.map(decode, chunks)
        finally:
            pool.shutdown(cancel_futures=True)

    def is_bad(self, positions: Indices) -> NDArray[np.bool_]:
        """Return (B,) whether each image was found unreadable."""
        bad: NDArray[np.bool_] = self._state[positions] == _BAD
        return bad

    def select(self, positions: Indices) -> Tensor:
        """Return (B, C, H, W) uint8, channels last in memory, of images that `ensure` has decoded."""
        if self._pixels is None:
            height, width, channels = self._shape
            return torch.empty((len(positions), channels, height, width), dtype=torch.uint8)
        return self._pixels.index_select(0, torch.from_numpy(positions)).permute(0, 3, 1, 2)
