"""Where the images of a dataset lie until they are decoded: arrays, files, or a table of `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.data.image import decode_image, fit_image, image_dimensions
from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.errors import DataError
from shallowdeep.image_size import Size

Pixels = NDArray[np.uint8]


class ImageStore(Protocol):
    """N images, decoded one by one; safe to read from threads and from forked processes after `prepare`."""

    def __len__(self) -> int:
        """Return N."""

    def prepare(self) -> None:
        """Do once, in the parent process, what reading needs; a second call does nothing."""

    def name(self, index: int) -> str:
        """Return what a message calls the image."""

    def content(self, index: int) -> bytes:
        """Return the image as it is stored, decoded or not; empty where there is nothing."""

    def dimensions(self, index: int) -> tuple[int, int]:
        """Return (width, height); BadImageError if unreadable."""

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C); BadImageError if unreadable."""


class ArrayStore:
    """Images that are pixels already.

    Args:
        pixels: (N, H, W) grey or (N, H, W, 3) RGB, uint8.
        what: names the dataset in messages.
    """

    def __init__(self, pixels: Pixels, what: str) -> None:
        self._pixels = pixels
        self._what = what

    def __len__(self) -> int:
        return len(self._pixels)

    def prepare(self) -> None:
        """Nothing to do."""

    def name(self, index: int) -> str:
        """Return "image 17 of NAME"."""
        return f"image {index} of {self._what}"

    def content(self, index: int) -> bytes:
        """Return its pixels."""
        content: bytes = self._pixels[index].tobytes()
        return content

    def dimensions(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - the contract of stores; all are alike here
        """Return (width, height)."""
        return self._pixels.shape[2], self._pixels.shape[1]

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C)."""
        return fit_image(Image.fromarray(self._pixels[index]), size, rules)


class FileStore:
    """Images that are files.

    Args:
        paths: one per image.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [str(path) for path in paths]  # text: a tenth of the memory of Path objects

    def __len__(self) -> int:
        return len(self._paths)

    def prepare(self) -> None:
        """Nothing to do."""

    def name(self, index: int) -> str:
        """Return the path."""
        return self._paths[index]

    def content(self, index: int) -> bytes:
        """Return the file's bytes; none where it cannot be read."""
        try:
            return Path(self._paths[index]).read_bytes()
        except OSError:
            return b""

    def dimensions(self, index: int) -> tuple[int, int]:
        """Return (width, height) from the file's header."""
        return image_dimensions(Path(self._paths[index]))

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C)."""
        return decode_image(Path(self._paths[index]), size, rules)


class TextStore:
    """Texts, which are no images: they are tokenized, not decoded.

    Args:
        texts: N of them.
        name_of: what a message calls each.
    """

    def __init__(self, texts: Sequence[str], name_of: Callable[[int], str]) -> None:
        self._texts, self._name_of = texts, name_of

    def __len__(self) -> int:
        return len(self._texts)

    def prepare(self) -> None:
        """Nothing to do."""

    def texts(self, first: int, end: int) -> list[str]:
        """Return consecutive texts."""
        return list(self._texts[first:end])

    def name(self, index: int) -> str:
        """Return "row 17 of FILE"."""
        return self._name_of(index)

    def content(self, index: int) -> bytes:
        """Return the text in UTF-8."""
        return self._texts[index].encode("utf-8", "surrogatepass")

    def dimensions(self, index: int) -> tuple[int, int]:
        """Refuse.

        Raises:
            DataError: text is no image.
        """
        raise self._refusal(index)

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Refuse.

        Raises:
            DataError: text is no image.
        """
        del size, rules
        raise self._refusal(index)

    def _refusal(self, index: int) -> DataError:
        return DataError(f"Expected images for this network, got text, such as {self._name_of(index)}")


class TableStore:
    """Images in a table of the `datasets` package, which maps its own files into memory.

    Args:
        rows: a `datasets.Dataset` whose image column is not decoded.
        column: the image column.
        what: names the table in messages.
    """

    def __init__(self, rows: Any, column: str, what: str) -> None:  # noqa: ANN401 - `datasets` is untyped
        self._rows = rows
        self._column = column
        self._what = what

    def __len__(self) -> int:
        return len(self._rows)

    def prepare(self) -> None:
        """Nothing to do."""

    def name(self, index: int) -> str:
        """Return "row 17 of NAME"."""
        return f"row {index} of {self._what}"

    def dimensions(self, index: int) -> tuple[int, int]:
        """Return (width, height) from the image's header."""
        return image_dimensions(self.content(index), self.name(index))

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C)."""
        return decode_image(self.content(index), size, rules, self.name(index))

    def content(self, index: int) -> bytes:
        """Return the image's bytes."""
        stored: dict[str, bytes | None] = self._rows[int(index)][self._column] or {}
        return stored.get("bytes") or b""


class AlteredStore:
    """Another store's images, some of them changed once they are decoded.

    Args:
        store: the images.
        chosen: which of them are changed.
        alter: takes and returns (H, W, C).
    """

    def __init__(self, store: ImageStore, chosen: Collection[int], alter: Callable[[Pixels], Pixels]) -> None:
        self._store, self._chosen, self._alter = store, frozenset(chosen), alter

    def __len__(self) -> int:
        return len(self._store)

    def prepare(self) -> None:
        """Prepare the other store."""
        self._store.prepare()

    def name(self, index: int) -> str:
        """Return the other store's name of the image."""
        return self._store.name(index)

    def content(self, index: int) -> bytes:
        """Return the other store's bytes: before the change."""
        return self._store.content(index)

    def dimensions(self, index: int) -> tuple[int, int]:
        """Return (width, height) before the change."""
        return self._store.dimensions(index)

    def decode(self, index: int, size: Size, rules: ImageRules = DEFAULT_RULES) -> Pixels:
        """Return (H, W, C)."""
        pixels = self._store.decode(index, size, rules)
        return self._alter(pixels) if index in self._chosen else pixels
