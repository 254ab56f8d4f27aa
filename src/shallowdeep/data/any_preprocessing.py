"""What turns a file or a text into network input, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.data.text import KIND, TextPreprocessing
from shallowdeep.errors import DataError

AnyPreprocessing: TypeAlias = Preprocessing | TextPreprocessing


def preprocessing_from(values: Mapping[str, Any]) -> AnyPreprocessing:
    """Return the preprocessing that a JSON document describes, of images where it does not say otherwise.

    Raises:
        ConfigurationError: keys are missing or unknown, or a value is out of range.
    """
    if isinstance(values, Mapping) and values.get("kind") == KIND:
        return TextPreprocessing.from_dict(values)
    return Preprocessing.from_dict(values)


def images_alone(preprocessing: AnyPreprocessing) -> Preprocessing:
    """Return the preprocessing of images.

    Raises:
        DataError: it is of text.
    """
    if isinstance(preprocessing, TextPreprocessing):
        raise DataError("Expected a network of images, got one of text: this is for images alone")
    return preprocessing
