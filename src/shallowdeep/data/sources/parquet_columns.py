"""Which columns of a Parquet file hold the images and the labels, and what the classes are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallowdeep.errors import DataError

_IMAGE_NAMES = ("image", "img", "images", "picture")
_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class")


@dataclass(frozen=True)
class Columns:
    """The two columns that matter.

    Args:
        bytes_path: path of the encoded bytes, such as "img.bytes".
        label: name of the integer labels.
        classes: the declared names, if any.
    """

    bytes_path: str
    label: str
    classes: tuple[str, ...] | None


def find_columns(schema: Any, path: Path) -> Columns:  # noqa: ANN401 - pyarrow is untyped
    """Return the columns of an Arrow schema: those the `huggingface` metadata declares, else those of usual names.

    Raises:
        DataError: if there is no such column, or one is of another type.
    """
    import pyarrow as pa  # noqa: PLC0415 - only for this layout

    features = _declared_features(schema.metadata or {})
    images = [name for name, feature in features.items() if feature.get("_type") == "Image" and name in schema.names]
    image = _pick(images, _IMAGE_NAMES) or _pick(schema.names, _IMAGE_NAMES, required=True)
    labels = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    label = _pick([name for name in labels if name in schema.names], _LABEL_NAMES) or _pick(
        schema.names, _LABEL_NAMES, required=True
    )
    if image is None or label is None:
        raise DataError(f"Expected image and label columns in {path.name}, got {', '.join(schema.names)}")
    kind = schema.field(image).type
    nested = pa.types.is_struct(kind) and any(kind.field(at).name == "bytes" for at in range(kind.num_fields))
    if not nested and not pa.types.is_binary(kind) and not pa.types.is_large_binary(kind):
        raise DataError(f"Expected encoded images in column {image} of {path.name}, got {kind}")
    if not pa.types.is_integer(schema.field(label).type):
        raise DataError(f"Expected integers in column {label} of {path.name}, got {schema.field(label).type}")
    return Columns(f"{image}.bytes" if nested else image, label, _class_names(features.get(label, {})))


def _declared_features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return column -> feature as the Hugging Face writer left them, {} where it did not."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _class_names(feature: dict[str, Any]) -> tuple[str, ...] | None:
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
