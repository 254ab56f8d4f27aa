"""Which columns of a Parquet file hold the images and the labels, and what the classes are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallowdeep.errors import DataError

IMAGE_NAMES = ("image", "img", "images", "picture", "file_name", "filename", "image_path", "path")
_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class")


@dataclass(frozen=True)
class Columns:
    """The two columns that matter.

    Args:
        bytes_path: path of the encoded bytes, such as "img.bytes"; "" where there are file names alone.
        file_path: path of the files' names, such as "img.path"; "" where there is none.
        label: name of the labels; "" where they are hidden.
        classes: the declared names, if any.
    """

    bytes_path: str
    file_path: str
    label: str
    classes: tuple[str, ...] | None


def find_columns(schema: Any, path: Path, *, labelled: bool = True) -> Columns:  # noqa: ANN401 - pyarrow is untyped
    """Return the columns of an Arrow schema: those the `huggingface` metadata declares, else those of usual names.

    Args:
        schema: of the file.
        path: of the file, for messages.
        labelled: whether there must be labels.

    Raises:
        DataError: if there is no such column, or one is of another type.
    """
    features = declared_features(schema.metadata or {})
    images = [name for name, feature in features.items() if feature.get("_type") == "Image" and name in schema.names]
    image = _pick(images, IMAGE_NAMES) or _pick(schema.names, IMAGE_NAMES, required=True)
    labels = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    label = _pick([name for name in labels if name in schema.names], _LABEL_NAMES) or _pick(
        schema.names, _LABEL_NAMES, required=True
    )
    if image is None or (label is None and labelled):
        raise DataError(f"Expected image and label columns in {path.name}, got {', '.join(schema.names)}")
    bytes_path, file_path = _image_paths(schema.field(image).type, image)
    if not bytes_path and not file_path:
        raise DataError(
            f"Expected encoded images or file names in column {image} of {path.name}, got {schema.field(image).type}"
        )
    if label is not None and not _is_label(schema.field(label).type):
        raise DataError(f"Expected integers or names in column {label} of {path.name}, got {schema.field(label).type}")
    return Columns(bytes_path, file_path, label or "", class_names(features.get(label or "", {})))


def _image_paths(kind: Any, column: str) -> tuple[str, str]:  # noqa: ANN401 - pyarrow is untyped
    """Return where the encoded bytes and the file names are, "" where there are none."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_struct(kind):
        inside = {kind.field(at).name for at in range(kind.num_fields)}
        return tuple(f"{column}.{piece}" if piece in inside else "" for piece in ("bytes", "path"))  # type: ignore[return-value]
    binary, text = (pa.types.is_binary, pa.types.is_large_binary), (pa.types.is_string, pa.types.is_large_string)
    return tuple(column if any(is_one(kind) for is_one in kinds) else "" for kinds in (binary, text))  # type: ignore[return-value]


def _is_label(kind: Any) -> bool:  # noqa: ANN401 - pyarrow is untyped
    """Whether a type can hold labels: integers, or names, also as a dictionary."""
    import pyarrow as pa  # noqa: PLC0415

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_one(kind) for is_one in (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    )


def declared_features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return column -> feature as the Hugging Face writer left them, {} where it did not."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def class_names(feature: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel feature."""
    names = feature.get("names")
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    count = feature.get("num_classes")
    return tuple(str(label) for label in range(count)) if isinstance(count, int) and count > 0 else None


def _pick(names: list[str], usual: tuple[str, ...], *, required: bool = False) -> str | None:
    """Return the name that comes first in `usual`, else the first of all unless a usual one is required."""
    named = next((name for name in usual if name in names), None)
    return named or (None if required or not names else names[0])
