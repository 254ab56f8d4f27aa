"""One split of a dataset: labels at once, images when they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.data.decoded import DecodedImages
from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.splits import Indices
from shallowdeep.data.stores import AlteredStore, ImageStore, Pixels
from shallowdeep.data.token_table import TokenTable
from shallowdeep.errors import BadImageError
from shallowdeep.image_size import Size, sides
from shallowdeep.progress import SILENT, Progress

_CHUNK = 256  # images looked at together


class Fetched(NamedTuple):
    """Images and labels that were asked for.

    Args:
        images: (B, C, H, W) uint8, channels last in memory.
        labels: (B,) int64.
        kept: (B,) int64, positions in the request; all of them unless bad images were left out.
    """

    images: Tensor
    labels: Tensor
    kept: Tensor


class Decoded(NamedTuple):
    """What a worker process sends back; an error as text, as one raised there would arrive with its traceback.

    Args:
        pixels: (B, H, W, C) uint8.
        kept: (B,) int64, positions in the request.
        bad: names of the images left out.
        error: the message of a BadImageError, or None.
    """

    pixels: Pixels
    kept: Indices
    bad: list[str]
    error: str | None


class ImageSplit:
    """N labelled images of one split, decoded once if they may stay in memory, and at every fetch if not.

    `labels` and the length cover every image of the split, unreadable ones too: which image has which index never
    depends on what can be decoded. With `skip_bad_images`, a fetch leaves the unreadable ones out and `skipped` names
    them.

    Args:
        name: "train", "tune", "certify", "test" or "calibration".
        store: the images of the part of the dataset this split was cut from.
        positions: (N,) int64, which of them are in this split.
        labels: (N,) int64.
        size: of the decoded images, in pixels.
        decoded: the part's decoded images, shared among its splits, or None to decode at every fetch.
        rules: how they are decoded and resized.
        skip_bad_images: leave unreadable images out instead of raising.
        progress: told how far decoding is.
    """

    def __init__(
        self,
        name: str,
        store: ImageStore,
        positions: Indices,
        labels: NDArray[np.int64],
        *,
        size: Size,
        decoded: DecodedImages | TokenTable | None,
        rules: ImageRules = DEFAULT_RULES,
        skip_bad_images: bool = False,
        progress: Progress = SILENT,
    ) -> None:
        self.name = name
        self.labels = torch.from_numpy(np.ascontiguousarray(labels))
        self.size = size
        self.rules = rules
        self.skipped: list[str] = []
        self._store = store
        self._positions = positions
        self._decoded = decoded
        self._skip = skip_bad_images
        self._progress = progress

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def resident(self) -> bool:
        """Whether the decoded images stay in memory."""
        return self._decoded is not None

    @property
    def positions(self) -> Indices:
        """(N,) int64, places of this split's images in the part of the dataset it was cut from."""
        return self._positions

    def shares_part(self, other: ImageSplit) -> bool:
        """Whether both were cut from one part of a dataset."""
        return self._store is other._store

    def contents(self) -> Iterator[bytes]:
        """Yield each image as it is stored, not decoded."""
        self._store.prepare()
        for position in self._positions.tolist():
            yield self._store.content(position)

    def image_name(self, index: int) -> str:
        """Return what a message calls the image at ``index`` in [0, N)."""
        return self._store.name(int(self._positions[index]))

    def text(self, index: int) -> str:
        """Return the text at ``index`` in [0, N), of a split of texts."""
        return self._store.content(int(self._positions[index])).decode("utf-8", "replace")

    def subset(self, indices: Sequence[int] | Indices) -> ImageSplit:
        """Return the split of some of this split's images, which shares what is decoded.

        Args:
            indices: (M,) in [0, N), in the order wanted.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        return ImageSplit(
            self.name,
            self._store,
            self._positions[chosen],
            self.labels.numpy()[chosen],
            size=self.size,
            decoded=self._decoded,
            rules=self.rules,
            skip_bad_images=self._skip,
            progress=self._progress,
        )

    def readable(self) -> ImageSplit:
        """Return the split of those images that can be decoded; this split where bad ones are not skipped."""
        if not self._skip:
            return self
        chunks = np.array_split(np.arange(len(self)), max(1, len(self) // _CHUNK))
        kept = [chunk[self.fetch_kept(chunk).kept.numpy()] for chunk in chunks]
        return self.subset(np.concatenate(kept))

    def altered(
        self,
        indices: Sequence[int] | Indices,
        alter: Callable[[Pixels], Pixels],
        labels: NDArray[np.int64] | None = None,
        name: str | None = None,
    ) -> ImageSplit:
        """Return a split in which some of this split's images are changed once they are decoded.

        Args:
            indices: (M,) in [0, N), which images are changed.
            alter: takes and returns (S, S, 3) uint8; called in worker threads and processes.
            labels: (N,) int64 of the new split, or None for this split's.
            name: of the new split, or None for this split's.
        """
        chosen = self._positions[np.asarray(indices, dtype=np.int64)]
        store = AlteredStore(self._store, chosen.tolist(), alter)
        return ImageSplit(
            self.name if name is None else name,
            store,
            self._positions,
            self.labels.numpy() if labels is None else labels,
            size=self.size,
            decoded=None if self._decoded is None else DecodedImages(store, self.size, self.rules),
            rules=self.rules,
            skip_bad_images=self._skip,
            progress=self._progress,
        )

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """(N,) how many tokens each text has; None for images."""
        if not isinstance(self._decoded, TokenTable):
            return None
        self.prepare()
        return self._decoded.lengths(self._positions)

    def prepare(self) -> None:
        """Do what the first fetch would: decode a resident split, open a streaming one before workers are forked."""
        if self._decoded is None:
            self._store.prepare()
            return
        self._decoded.ensure(self._positions, self.name, skip=self._skip, progress=self._progress)
        if self._skip:
            bad = self._positions[self._decoded.is_bad(self._positions)]
            self.skipped = [self._store.name(int(position)) for position in bad]

    def fetch(self, indices: Sequence[int] | Indices | Tensor) -> tuple[Tensor, Tensor]:
        """Return (images, labels) of some of the split's images.

        Args:
            indices: (B,) in [0, N).

        Returns:
            images (B, C, H, W) uint8, channels last in memory, and labels (B,) int64; fewer where bad images are
            skipped.

        Raises:
            BadImageError: if an image cannot be decoded and bad images are not skipped.
        """
        images, labels, _ = self.fetch_kept(indices)
        return images, labels

    def fetch_kept(self, indices: Sequence[int] | Indices | Tensor) -> Fetched:
        """Return what `fetch` does, and which of the requested images it holds.

        Raises:
            BadImageError: if an image cannot be decoded and bad images are not skipped.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if self._decoded is None:
            return self.receive(wanted, self.decode(wanted))
        self.prepare()
        positions = self._positions[wanted]
        kept = np.flatnonzero(~self._decoded.is_bad(positions))
        images = self._decoded.select(positions if len(kept) == len(wanted) else positions[kept])
        chosen = torch.from_numpy(kept)
        return Fetched(images, self.labels[torch.from_numpy(wanted)][chosen], chosen)

    def decode(self, indices: Sequence[int] | Indices) -> Decoded:
        """Return images decoded now; what worker processes call."""
        pixels = np.empty((len(indices), *sides(self.size), self.rules.channels), dtype=np.uint8)
        kept: list[int] = []
        bad: list[str] = []
        for place, index in enumerate(indices):
            position = int(self._positions[index])
            try:
                pixels[len(kept)] = self._store.decode(position, self.size, self.rules)
            except BadImageError as error:
                if not self._skip:
                    return Decoded(pixels[:0], np.zeros(0, dtype=np.int64), [], str(error))
                bad.append(self._store.name(position))
                continue
            kept.append(place)
        return Decoded(pixels[: len(kept)], np.array(kept, dtype=np.int64), bad, None)

    def receive(self, indices: Sequence[int] | Indices, decoded: Decoded) -> Fetched:
        """Return what a worker decoded as tensors, and take note of what it left out.

        Raises:
            BadImageError: if the worker met an unreadable image and bad images are not skipped.
        """
        if decoded.error is not None:
            raise BadImageError(decoded.error)
        self.skipped += [name for name in decoded.bad if name not in self.skipped]
        kept = torch.from_numpy(decoded.kept)
        labels = self.labels[torch.from_numpy(np.asarray(indices, dtype=np.int64))][kept]
        return Fetched(torch.from_numpy(decoded.pixels).permute(0, 3, 1, 2), labels, kept)
