"""JSON documents of a named format and version, such as manifests; sealed ones hold their own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from shallowdeep.errors import CheckpointError

SEAL = "sha256"


def plain(value: Any) -> Any:  # noqa: ANN401 - any result in, any JSON value out
    """Return a result as JSON holds it: dataclasses and mappings as dicts, sequences and arrays as lists.

    Every result of the package goes through here on its way to a file or to ``--json``. The names of fields are the
    keys; one that is a word of Python ends in an underscore (``class_``), its key does not. Paths become strings.

    Raises:
        TypeError: something in it has no JSON form.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Point:
        ...     threshold: float | None
        ...     costs: tuple[float, ...]
        >>> plain(Point(None, (0.5, 1.0)))
        {'threshold': None, 'costs': [0.5, 1.0]}
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name.removesuffix("_"): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # an array or a number of NumPy, which a start without it should not import
        return value.tolist()
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise TypeError(f"Expected a value that JSON can hold, got {type(value).__name__}")


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document's content but for the field that holds it."""
    content = {key: value for key, value in document.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its checksum."""
    return {**document, SEAL: digest(document)}


def read_document(path: Path, kind: str, version: int, absent: str) -> dict[str, Any]:
    """The document in a file, of a format this program reads, and as it was sealed.

    One without a checksum passes: it was written by hand.

    Args:
        path: the file.
        kind: its ``format``.
        version: the newest ``format_version`` that is read.
        absent: what an error says where there is no file.

    Raises:
        CheckpointError: missing, truncated, altered, of another format, or newer.
    """
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(absent) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Expected JSON in {path}, got a truncated or altered file: {error}") from error
    check_format(document, kind, version, str(path))
    if document.get(SEAL, digest(document)) != digest(document):
        raise CheckpointError(f"Expected the checksum in {path} to be that of its content: the file was altered")
    return dict(document)


def check_format(document: Any, kind: str, version: int, source: str) -> None:  # noqa: ANN401 - any JSON value
    """Refuse a document of another format or a newer version.

    Raises:
        CheckpointError: naming ``source``.
    """
    if not isinstance(document, Mapping) or document.get("format") != kind:
        raise CheckpointError(f"Expected a document of format {kind!r} in {source}, got another")
    found = document.get("format_version")
    if not isinstance(found, int) or found > version:
        raise CheckpointError(
            f"Expected format version {version} or older in {source}, got {found}; a newer shallowdeep reads it"
        )
