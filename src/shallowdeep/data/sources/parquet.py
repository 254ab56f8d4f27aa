"""A directory of Parquet files in the Hugging Face layout: an image column of encoded bytes, a label column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.packed_store import PackedStore
from shallowdeep.data.sources.parquet_columns import Columns, find_columns
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.errors import DataError

_PART_PREFIX = re.compile(r"(train|test|calibration|validation|valid|val)(?:ing)?(?:[-_.]|$)")
_ROWS_AT_ONCE = 64  # encoded images handed on at once


def find_parquet(root: Path) -> list[Path]:
    """Return the directory's Parquet files, sub-folders such as `data` included, hidden ones not."""
    return sorted(
        path
        for path in root.rglob("*.parquet")
        if path.is_file() and not any(piece.startswith((".", "_")) for piece in path.relative_to(root).parts)
    )


def read_parquet(root: Path, name: str, encoded_memory: int) -> Source:
    """Return the dataset of `train-*.parquet`, `test-*.parquet` (or `validation-*`) and `calibration-*.parquet` files.

    A file belongs to the part that its own name begins with, or else its folder's; files that name no part are all
    training. The class names come from the `huggingface` metadata, or are "0", "1" ... .

    Args:
        root: the directory.
        name: of the dataset.
        encoded_memory: bytes of encoded images that may stay in memory, over all the parts.

    Raises:
        DataError: if the files cannot be read, do not agree, or hold labels outside the declared classes.
    """
    parts = _sort_into_parts(root)
    files = {what: _Files(paths) for what, paths in parts.items()}
    train = files["train"]
    declared = train.columns.classes
    for other in files.values():
        if declared is not None and other.columns.classes not in {None, declared}:
            raise DataError(f"Expected the classes of {train.paths[0].name} in {other.paths[0].name}, got other ones")
    read = {what: Part(of.store(encoded_memory // len(files)), of.labels()) for what, of in files.items()}
    count = int(read["train"].labels.max(initial=-1)) + 1
    classes = declared or tuple(str(label) for label in range(count))
    return Source(name, classes, read["train"], read.get("test"), calibration=read.get("calibration"))


class _Files:
    """The Parquet files of one part, in order."""

    def __init__(self, paths: list[Path]) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - only for this layout

        self.paths = paths
        opened = []
        for path in paths:
            with _reading(path):
                opened.append(pq.ParquetFile(path))
        found = [find_columns(file.schema_arrow, path) for file, path in zip(opened, paths, strict=True)]
        self.columns: Columns = found[0]
        for path, columns in zip(paths, found, strict=True):
            if columns != self.columns:
                raise DataError(f"Expected the columns and classes of {paths[0].name} in {path.name}, got other ones")
        self.starts = np.cumsum([0, *(file.metadata.num_rows for file in opened)])
        for file in opened:
            file.close()

    def labels(self) -> NDArray[np.int64]:
        """Return the label column of all files."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        pieces = []
        for path in self.paths:
            with _reading(path):
                column = pq.read_table(path, columns=[self.columns.label]).column(0).combine_chunks()
            if column.null_count:
                row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
                raise DataError(f"Expected a label, got none at row {row} of {path.name}")
            pieces.append(np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64))
        return np.concatenate(pieces)

    def store(self, memory: int) -> PackedStore:
        """Return the images, not read yet."""
        return PackedStore(int(self.starts[-1]), self._blocks, self._row_name, memory)

    def _row_name(self, index: int) -> str:
        """Return "row 17 of train-00000.parquet", rows counted from 0 in each file."""
        file = int(np.searchsorted(self.starts, index, side="right")) - 1
        return f"row {index - int(self.starts[file])} of {self.paths[file].name}"

    def _blocks(self) -> Iterator[tuple[NDArray[np.int64], bytes]]:
        """Yield (lengths, bytes) of consecutive rows, few at a time."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        for path in self.paths:
            # Buffered and not read ahead: a row group of gigabytes passes page by page (of at most 1,024 images, as
            # Arrow writes them), and threads would hold several.
            with _reading(path), pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[self.columns.bytes_path], use_threads=False):
                    yield _lengths_and_bytes(batch.column(0))
        pa.default_memory_pool().release_unused()  # Arrow would keep what the pages took


def _lengths_and_bytes(column: Any) -> tuple[NDArray[np.int64], bytes]:  # noqa: ANN401 - pyarrow is untyped
    """Return what a binary column, or a struct of one, holds; nulls count as empty."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_struct(column.type):
        column = column.flatten()[0]  # flatten: unlike field(), it carries the struct's own nulls down
    content = [value or b"" for value in column.to_pylist()]
    return np.array([len(value) for value in content], dtype=np.int64), b"".join(content)


def _sort_into_parts(root: Path) -> dict[str, list[Path]]:
    """Return the files of "train", and of "test" and "calibration" where there are any."""
    found: dict[str, list[Path]] = {}
    for path in find_parquet(root):
        found.setdefault(_part_of(path, root), []).append(path)
    train = found.get("train") or found.get("")
    if not train:
        raise DataError(f"Expected train-*.parquet under {root}, got {', '.join(sorted(found)) or 'none'} only")
    others = {"test": found.get("test") or found.get("validation"), "calibration": found.get("calibration")}
    parts = {"train": train, **{what: paths for what, paths in others.items() if paths}}
    for paths in parts.values():
        folders = {path.parent for path in paths}
        if len(folders) > 1:
            raise DataError(f"Expected the Parquet files of one dataset under {root}, got {len(folders)} folders")
    return parts


def _part_of(path: Path, root: Path) -> str:
    """Return "train", "test", "calibration", "validation", or "" where neither the file nor its folders say."""
    for piece in (path.stem, *reversed(path.relative_to(root).parts[:-1])):
        match = _PART_PREFIX.match(piece.lower())
        if match:
            return "validation" if match.group(1).startswith("val") else match.group(1)
    return ""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file, always an OSError or a ValueError, into one line that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(f"Expected a Parquet file, got {path} ({' '.join(str(error).split())})") from error
