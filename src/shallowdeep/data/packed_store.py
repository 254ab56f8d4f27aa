"""Encoded images of Parquet files, read once in order and then at hand in any order."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.image import decode_image, image_dimensions
from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.stores import Pixels
from shallowdeep.errors import BadImageError
from shallowdeep.files import cannot_write
from shallowdeep.image_size import Size


class PackedStore:
    """Encoded images read once, in order, and kept where any of them is at hand.

    A Parquet file gives its rows in blocks of thousands; shuffled access needs single ones. So the first use copies the
    encoded bytes to memory, or to an unnamed temporary file (under $TMPDIR) once they exceed what memory may hold. The
    file has no name so that nothing is left behind, however the program ends.

    Args:
        count: how many images.
        blocks: called once, gives (lengths, bytes) of consecutive images; a length of 0 is an image without bytes.
        name: index -> what a message calls the image.
        memory: bytes of encoded images that may stay in memory.
    """

    def __init__(
        self, count: int, blocks: Callable[[], Iterable[tuple[NDArray[np.int64], bytes]]], name: Callable[[int], str],
        memory: int,
    ) -> None:  # fmt: skip
        self._count = count
        self._blocks = blocks
        self._name = name
        self._memory = memory
        self._offsets: NDArray[np.int64] | None = None
        self._held = bytearray()
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @property
    def on_disk(self) -> bool:
        """Whether the bytes went to a temporary file."""
        return self._descriptor is not None

    def prepare(self) -> None:
        """Read all blocks, at the first call."""
        with self._lock:
            if self._offsets is None:
                try:
                    self._offsets = self._pack()
                except OSError as error:
                    raise cannot_write(Path(tempfile.gettempdir()), error) from error

    def _pack(self) -> NDArray[np.int64]:
        """Copy all blocks; return (N + 1,) where each image begins, and where the last ends."""
        offsets = np.zeros(self._count + 1, dtype=np.int64)
        row = 0
        with tempfile.TemporaryFile() as file:
            for lengths, content in self._blocks():
                offsets[row + 1 : row + 1 + len(lengths)] = lengths
                row += len(lengths)
                if not file.tell() and len(self._held) + len(content) <= self._memory:
                    self._held += content
                    continue
                file.write(self._held)
                file.write(content)
                self._held = bytearray()
            if file.tell():
                file.flush()
                self._descriptor = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._descriptor)
        return np.cumsum(offsets, dtype=np.int64)

    def name(self, index: int) -> str:
        """Return what the source calls the image, such as "row 17 of train-00000.parquet"."""
        return self._name(index)

    def dimensions(self, index: int) -> tuple[int, int]:
        """Return (width, height) from the image's header."""
        return image_dimensions(self.content(index), self.name(index))

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C)."""
        return decode_image(self.content(index), size, rules, self.name(index))

    def content(self, index: int) -> bytes:
        """Return the image's bytes.

        Raises:
            BadImageError: it was never read.
        """
        self.prepare()
        if self._offsets is None:
            raise BadImageError(f"Expected a readable image, got {self.name(index)} (never read)")
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        if self._descriptor is None:
            return bytes(self._held[start:stop])
        return os.pread(self._descriptor, stop - start, start)  # pread: forked workers share the file's position
