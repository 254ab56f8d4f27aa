"""A directory of Parquet files in the Hugging Face layout: an image column of encoded bytes, a label column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.packed_store import PackedStore
from shallowdeep.data.sources.parquet_columns import Columns, find_columns
from shallowdeep.data.sources.part_names import (
    CALIBRATION,
    TEST,
    TRAIN,
    VALIDATION,
    part_of_file,
    tested_on,
)
from shallowdeep.data.sources.source import HIDDEN, Part, Source
from shallowdeep.data.stores import FileStore, ImageStore
from shallowdeep.errors import DataError, first_few

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
    training. Images are encoded bytes, or names of files, which lie beside the Parquet file or under the root. Labels
    are numbers, whose names come from the `huggingface` metadata or are "0", "1" ..., or they are names, whose order is
    the alphabet's. A test part with no labels, or -1 for all, gives way to the validation part.

    Args:
        root: the directory.
        name: of the dataset.
        encoded_memory: bytes of encoded images that may stay in memory, over all the parts.

    Raises:
        DataError: if the files cannot be read, do not agree, or hold labels outside the declared classes.
    """
    paths = _sort_into_parts(root)
    files = {what: _Files(inside, root, labelled=what in {TRAIN, CALIBRATION}) for what, inside in paths.items()}
    train = files[TRAIN]
    declared = train.columns.classes
    for other in files.values():
        if declared is not None and other.columns.label and other.columns.classes not in {None, declared}:
            raise DataError(f"Expected the classes of {train.paths[0].name} in {other.paths[0].name}, got other ones")
    labels = {what: of.labels() for what, of in files.items()}
    classes = declared or _classes_of(labels[TRAIN])
    memory = encoded_memory // len(set(files) - ({VALIDATION} if TEST in files else set()))
    parts = {what: Part(of.store(memory), of.numbered(labels[what], classes)) for what, of in files.items()}
    test, notes = tested_on(parts)
    return Source(name, classes, parts[TRAIN], test, calibration=parts.get(CALIBRATION), notes=notes)


Labels = NDArray[np.int64] | NDArray[np.object_]
"""Numbers, or names, None where one is hidden."""


def _classes_of(labels: Labels) -> tuple[str, ...]:
    """Return the classes that labels tell where nothing declares them."""
    if labels.dtype == np.int64:
        return tuple(str(label) for label in range(int(labels.max(initial=-1)) + 1))
    return tuple(sorted({str(label) for label in labels}))


class _Files:
    """The Parquet files of one part, in order.

    Args:
        paths: of the files.
        root: of the dataset.
        labelled: whether there must be labels; else they may be hidden.
    """

    def __init__(self, paths: list[Path], root: Path, *, labelled: bool) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - only for this layout

        self.paths, self.root, self.labelled = paths, root, labelled
        opened = []
        for path in paths:
            with _reading(path):
                opened.append(pq.ParquetFile(path))
        found = [
            find_columns(file.schema_arrow, path, labelled=labelled) for file, path in zip(opened, paths, strict=True)
        ]
        self.columns: Columns = found[0]
        for path, columns in zip(paths, found, strict=True):
            if columns != self.columns:
                raise DataError(f"Expected the columns and classes of {paths[0].name} in {path.name}, got other ones")
        self.starts = np.cumsum([0, *(file.metadata.num_rows for file in opened)])
        self.has_bytes = any(_has_values(file.metadata, self.columns.bytes_path) for file in opened)
        for file in opened:
            file.close()

    def labels(self) -> Labels:
        """Return the label column of all files; all are `HIDDEN` where there are none and need not be."""
        count = int(self.starts[-1])
        if not self.columns.label:
            return np.full(count, HIDDEN)
        pieces = [self._column(path, self.columns.label) for path in self.paths]
        if not self.labelled and all(piece.null_count == len(piece) for piece in pieces):
            return np.full(count, HIDDEN)
        for piece, path in zip(pieces, self.paths, strict=True):
            if piece.null_count:
                row = int(np.flatnonzero(piece.is_null().to_numpy(zero_copy_only=False))[0])
                raise DataError(f"Expected a label, got none at row {row} of {path.name}")
        return np.concatenate([_numbers_or_names(piece) for piece in pieces])

    def numbered(self, labels: Labels, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """Return labels as numbers of classes.

        Raises:
            DataError: a name that is no class.
        """
        if labels.dtype == np.int64:
            return labels.astype(np.int64)
        known = {name: number for number, name in enumerate(classes)}
        for row, label in enumerate(labels):
            if label not in known:
                raise DataError(
                    f"Expected one of the classes {first_few(classes)}, got {label!r} at {self._row_name(row)}"
                )
        return np.array([known[label] for label in labels], dtype=np.int64)

    def _column(self, path: Path, name: str) -> Any:  # noqa: ANN401 - pyarrow is untyped
        """Return a file's column, a dictionary's as its values."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        with _reading(path):
            column = pq.read_table(path, columns=[name]).column(0).combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no rows
            column = pa.array([], column.type)
        if pa.types.is_struct(column.type):
            column = column.flatten()[0]  # flatten: unlike field(), it carries the struct's own nulls down
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def store(self, memory: int) -> ImageStore:
        """Return the images, not read yet."""
        if not self.has_bytes:
            names = [
                (path, name) for path in self.paths for name in self._column(path, self.columns.file_path).to_pylist()
            ]
            return FileStore([self._file(path, name or "") for path, name in names])
        return PackedStore(int(self.starts[-1]), self._blocks, self._row_name, memory)

    def _file(self, path: Path, name: str) -> Path:
        """Return the file that a row of a Parquet file names: beside it, or else under the root."""
        beside = path.parent / name
        return beside if beside.exists() or not (self.root / name).exists() else self.root / name

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


def _has_values(metadata: Any, column: str) -> bool:  # noqa: ANN401 - pyarrow is untyped
    """Whether a column of a file holds anything, by the file's own statistics; True where these do not tell."""
    if not column:
        return False
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            chunk = row_group.column(place)
            if chunk.path_in_schema == column:
                told = chunk.statistics
                if told is None or not told.has_null_count or told.null_count < row_group.num_rows:
                    return True
    return False


def _numbers_or_names(column: Any) -> Labels:  # noqa: ANN401 - pyarrow is untyped
    """Return a column without nulls as int64, or as text."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    return np.array(column.to_pylist(), dtype=object)


def _lengths_and_bytes(column: Any) -> tuple[NDArray[np.int64], bytes]:  # noqa: ANN401 - pyarrow is untyped
    """Return what a binary column, or a struct of one, holds; nulls count as empty."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_struct(column.type):
        column = column.flatten()[0]  # flatten: unlike field(), it carries the struct's own nulls down
    content = [value or b"" for value in column.to_pylist()]
    return np.array([len(value) for value in content], dtype=np.int64), b"".join(content)


def _sort_into_parts(root: Path) -> dict[str, list[Path]]:
    """Return the files of "train", and of "test", "validation" and "calibration" where there are any."""
    found: dict[str, list[Path]] = {}
    for path in find_parquet(root):
        found.setdefault(_part_of(path, root), []).append(path)
    train = found.get(TRAIN) or found.get("")
    if not train:
        raise DataError(f"Expected train-*.parquet under {root}, got {', '.join(sorted(found)) or 'none'} only")
    parts = {TRAIN: train, **{what: found[what] for what in (TEST, VALIDATION, CALIBRATION) if what in found}}
    for paths in parts.values():
        folders = {path.parent for path in paths}
        if len(folders) > 1:
            raise DataError(f"Expected the Parquet files of one dataset under {root}, got {len(folders)} folders")
    return parts


def _part_of(path: Path, root: Path) -> str:
    """Return "train", "test", "calibration", "validation", or "" where neither the file nor its folders say."""
    pieces = (path.stem, *reversed(path.relative_to(root).parts[:-1]))
    return next(filter(None, map(part_of_file, pieces)), "")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file, always an OSError or a ValueError, into one line that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(f"Expected a Parquet file, got {path} ({' '.join(str(error).split())})") from error
