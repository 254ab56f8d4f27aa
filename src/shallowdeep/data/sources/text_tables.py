"""A directory of tables with a text column: Parquet, CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.sources.parquet_columns import IMAGE_NAMES, class_names, declared_features
from shallowdeep.data.sources.part_names import CALIBRATION, TEST, TRAIN, VALIDATION, part_of_file, tested_on
from shallowdeep.data.sources.source import HIDDEN, Part, Source
from shallowdeep.data.stores import TextStore
from shallowdeep.errors import DataError, first_few, one_line

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
_ABOUT = {"dataset_infos.json", "dataset_info.json"}  # of the `datasets` package, about tables
_TEXT_NAMES = ("text", "sentence", "content", "review", "document", "question", "title")
_LABEL_NAMES = ("label", "labels", "target", "class", "category", "sentiment")


def find_tables(root: Path) -> list[Path]:
    """Return the directory's tables, sub-folders included, hidden ones not."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.name not in _ABOUT
        and path.is_file()
        and not any(piece.startswith((".", "_")) for piece in path.relative_to(root).parts)
    )


def holds_text(root: Path, column: str = "") -> bool:
    """Whether a directory's tables hold texts to classify: a column of that name, or else a usual one, of text.

    Args:
        root: the directory.
        column: the text column's name; "" for a usual one.
    """
    tables = find_tables(root)
    if not tables:
        return False
    wanted = (column,) if column else _TEXT_NAMES
    if tables[0].suffix.lower() == ".parquet":
        try:
            schema = _schema(tables[0])
        except DataError:  # told by whatever reads it
            return False
        if not column and (set(schema.names) & set(IMAGE_NAMES) or not set(schema.names) & set(_LABEL_NAMES)):
            return False
        return any(name in schema.names and _is_text(schema.field(name).type) for name in wanted)
    names = _header(tables[0])
    if not column and names & set(IMAGE_NAMES):  # a list of image files
        return False
    return bool(names.intersection(wanted) and (column or names.intersection(_LABEL_NAMES)))


def _header(path: Path) -> set[str]:
    """Names of a text table's columns, by its first line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
        if path.suffix.lower() in {".csv", ".tsv"}:
            rows = csv.reader([line], delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            return set(next(rows, []))
        first = json.loads(line)
    except (OSError, ValueError, csv.Error):
        return set()
    return set(first) if isinstance(first, dict) else set()


def read_text_tables(root: Path, name: str, column: str = "") -> Source:
    """Return the dataset of tables that are called or foldered `train`, `validation`, `test` or `calibration`.

    Labels are numbers, whose names the `huggingface` metadata of Parquet files may declare, or they are names. Where
    there are labelled validation and test parts, and no calibration part, the test part is held out for `certify`, and
    the validation part is what is reported on, since the test labels of many text datasets are hidden.

    Args:
        root: the directory.
        name: of the dataset.
        column: the text column's name; "" for a usual one.

    Raises:
        DataError: the tables cannot be read, or have no such columns.
    """
    paths: dict[str, list[Path]] = {}
    for path in find_tables(root):
        pieces = (path.stem, *reversed(path.relative_to(root).parts[:-1]))
        paths.setdefault(next(filter(None, map(part_of_file, pieces)), ""), []).append(path)
    train = paths.get(TRAIN) or paths.get("")
    if not train:
        raise DataError(f"Expected a training table under {root}, got {first_few(sorted(paths))} only")
    files = {TRAIN: train, **{what: paths[what] for what in (TEST, VALIDATION, CALIBRATION) if what in paths}}
    tables = {what: _Table(inside, column, labelled=what in {TRAIN, CALIBRATION}) for what, inside in files.items()}
    classes = tables[TRAIN].classes or _classes_of(tables[TRAIN])
    parts = {what: Part(table.store(), table.numbered(classes)) for what, table in tables.items()}
    labelled = [what for what in (TEST, VALIDATION) if what in parts and (parts[what].labels != HIDDEN).all()]
    if labelled == [TEST, VALIDATION] and CALIBRATION not in parts:
        told = (
            "Both a test and a validation part are labelled: certify is the test part, figures are of the validation "
            "part, and tune is cut from the training part"
        )
        return Source(name, classes, parts[TRAIN], parts[VALIDATION], "none", certify=parts[TEST], notes=(told,))
    test, notes = tested_on(parts)
    return Source(name, classes, parts[TRAIN], test, "none", calibration=parts.get(CALIBRATION), notes=notes)


class _Table:
    """The tables of one part, one after the other.

    Args:
        paths: of the files.
        column: the text column's name, or "".
        labelled: whether there must be labels.
    """

    def __init__(self, paths: list[Path], column: str, *, labelled: bool) -> None:
        read = [_read(path) for path in paths]
        first = read[0]
        self.paths, self.labelled = paths, labelled
        self.text = _column(first, column, _TEXT_NAMES, paths[0], "text")
        self.label = next((name for name in _LABEL_NAMES if name in first.column_names), "")
        if labelled and not self.label:
            raise DataError(
                f"Expected a label column ({', '.join(_LABEL_NAMES)}) in {paths[0].name}, got "
                f"{first_few(first.column_names)}"
            )
        declared = declared_features(first.schema.metadata or {})
        self.classes = class_names(declared.get(self.label, {}))
        for table, path in zip(read, paths, strict=True):
            missing = [name for name in (self.text, self.label) if name and name not in table.column_names]
            if missing:
                raise DataError(f"Expected column {missing[0]} in {path.name}, as in {paths[0].name}")
        self.texts = [
            _text(value, row, path)
            for table, path in zip(read, paths, strict=True)
            for row, value in enumerate(table.column(self.text).to_pylist())
        ]
        self.labels: list[Any] = [
            value
            for table in read
            for value in (table.column(self.label).to_pylist() if self.label else [None] * table.num_rows)
        ]
        self.starts = np.cumsum([0, *(table.num_rows for table in read)])
        if labelled and any(value is None for value in self.labels):
            row = next(row for row, value in enumerate(self.labels) if value is None)
            raise DataError(f"Expected a label, got none at {self.row_name(row)}")

    def store(self) -> TextStore:
        """The texts."""
        return TextStore(self.texts, self.row_name)

    def row_name(self, index: int) -> str:
        """Return "row 17 of train.csv", rows counted from 0 in each file."""
        file = int(np.searchsorted(self.starts, index, side="right")) - 1
        return f"row {index - int(self.starts[file])} of {self.paths[file].name}"

    def numbered(self, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """Return labels as numbers of classes; `HIDDEN` where there are none.

        Raises:
            DataError: a name that is no class.
        """
        known = {name: number for number, name in enumerate(classes)}
        found: list[int] = []
        for row, label in enumerate(self.labels):
            if label is None or (label == HIDDEN and str(HIDDEN) not in known):
                found.append(HIDDEN)
            elif isinstance(label, int) and not isinstance(label, bool) and self.classes is not None:
                found.append(label)  # a number of declared names
            elif str(label) in known:
                found.append(known[str(label)])
            else:
                raise DataError(
                    f"Expected one of the classes {first_few(classes)}, got {label!r} at {self.row_name(row)}"
                )
        return np.array(found, dtype=np.int64)


def _classes_of(table: _Table) -> tuple[str, ...]:
    """Return the classes that labels tell where nothing declares them."""
    if all(isinstance(label, int) and not isinstance(label, bool) for label in table.labels):
        return tuple(str(label) for label in sorted(set(table.labels)))
    return tuple(sorted({str(label) for label in table.labels}))


def _text(value: Any, row: int, path: Path) -> str:  # noqa: ANN401 - a cell of any type
    if not isinstance(value, str):
        raise DataError(f"Expected text, got {'nothing' if value is None else repr(value)} at row {row} of {path.name}")
    return value


def _column(table: Any, wanted: str, usual: tuple[str, ...], path: Path, what: str) -> str:  # noqa: ANN401 - pyarrow
    names: list[str] = table.column_names
    found = wanted if wanted in names else "" if wanted else next((name for name in usual if name in names), "")
    if not found:
        asked = f"a column {wanted!r}" if wanted else f"a {what} column ({', '.join(usual)})"
        raise DataError(f"Expected {asked} in {path.name}, got {first_few(names)}; --text-column names it")
    return found


def _schema(path: Path) -> Any:  # noqa: ANN401 - pyarrow is untyped
    import pyarrow.parquet as pq  # noqa: PLC0415 - only for tables

    return _guarded(path, lambda: pq.read_schema(path))


def _read(path: Path) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """A table, whole."""
    import pyarrow.csv as pc  # noqa: PLC0415 - only for tables
    import pyarrow.json as pj  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _guarded(path, lambda: pq.read_table(path))
    if suffix in {".csv", ".tsv"}:
        parse = pc.ParseOptions(delimiter="\t" if suffix == ".tsv" else ",", newlines_in_values=True)
        return _guarded(path, lambda: pc.read_csv(path, parse_options=parse))
    return _guarded(path, lambda: pj.read_json(path))


def _guarded(path: Path, read: Callable[[], Any]) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """Turn what pyarrow raises on a damaged file into one line that names it."""
    try:
        return read()
    except (OSError, ValueError) as error:
        raise DataError(f"Expected a table in {path}, got {one_line(error)}") from error


def _is_text(kind: Any) -> bool:  # noqa: ANN401 - pyarrow is untyped
    import pyarrow as pa  # noqa: PLC0415

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
