"""What turns text into a network's input; checkpoints and bundles carry it (no torch, no transformers)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError, DataError, ModelError, one_line

if TYPE_CHECKING:
    from torch import Tensor

PADDING = -1
"""Stands for padding in batches of token ids, whatever id a tokenizer has for it: text may hold that one too."""

KIND = "text"
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class TextPreprocessing:
    """How text becomes token ids.

    Args:
        tokenizer: what `tokenizer.json` of the `tokenizers` package holds.
        max_length: tokens that the network takes, special ones included; longer texts are cut.

    Raises:
        ConfigurationError: a length below 2.
    """

    tokenizer: str
    max_length: int

    def __post_init__(self) -> None:
        if self.max_length < 2:  # noqa: PLR2004 - a first token, and one of the text
            raise ConfigurationError(f"Expected a length of at least 2 tokens, got {self.max_length}")

    @property
    def size(self) -> int:
        """Tokens of the longest input."""
        return self.max_length

    @property
    def shape(self) -> tuple[int, ...]:
        """(L,) of the longest input."""
        return (self.max_length,)

    def normalize(self, tokens: Tensor) -> Tensor:
        """Return token ids as they are."""
        return tokens

    @property
    def mean(self) -> NoReturn:
        """Refuse: text has none."""
        raise _no_image("a mean and a standard deviation")

    @property
    def std(self) -> NoReturn:
        """Refuse: text has none."""
        raise _no_image("a mean and a standard deviation")

    @property
    def rules(self) -> NoReturn:
        """Refuse: text has none."""
        raise _no_image("rules for image files")

    @property
    def channels(self) -> NoReturn:
        """Refuse: text has none."""
        raise _no_image("channels")

    @property
    def channel_order(self) -> NoReturn:
        """Refuse: text has none."""
        raise _no_image("an order of channels")

    def normalize_array(self, images: NDArray[np.uint8]) -> NoReturn:
        """Refuse: images are no text."""
        del images
        raise _no_image("pixels")

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return int(self._encoder.get_vocab_size(with_added_tokens=True))

    @cached_property
    def _encoder(self) -> Any:  # noqa: ANN401 - tokenizers has no types
        try:
            tokenizers = importlib.import_module("tokenizers")
        except ImportError as error:
            raise ModelError(f"Text needs tokenizers: pip install shallowdeep[text] ({one_line(error)})") from error
        try:
            encoder = tokenizers.Tokenizer.from_str(self.tokenizer)
        except Exception as error:
            raise ModelError(f"Expected a tokenizer.json of the tokenizers package, got {one_line(error)}") from error
        encoder.no_padding()
        encoder.enable_truncation(self.max_length)
        return encoder

    def encode(self, texts: Sequence[str]) -> tuple[list[Tokens], int]:
        """Return each text's token ids, and how many texts were cut.

        Args:
            texts: N of them.

        Returns:
            N arrays (l,) of at most `max_length` ids, and a count.

        Raises:
            DataError: something that is no text.
            ModelError: tokenizers is not installed, or cannot read the tokenizer.
        """
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise DataError(f"Expected text, got {type(wrong).__name__}")
        plain = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]  # bytes of argv that are no UTF-8
        found = self._encoder.encode_batch(plain)
        return [np.array(one.ids, dtype=np.int64) for one in found], sum(bool(one.overflowing) for one in found)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"kind": KIND, "max_length": self.max_length, "tokenizer": json.loads(self.tokenizer)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextPreprocessing:
        """Return the preprocessing that a JSON document describes.

        Raises:
            ConfigurationError: keys are missing, or a value is out of range.
        """
        try:
            return cls(json.dumps(values["tokenizer"], ensure_ascii=False), int(values["max_length"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"Expected max_length and tokenizer of text, got {error}") from error


def _no_image(what: str) -> DataError:
    return DataError(f"Expected images, which have {what}, got a network of text: this is for images alone")


def padded(tokens: Sequence[Tokens], length: int | None = None) -> Tokens:
    """Return token ids as one array, `PADDING` where a text has ended.

    Args:
        tokens: N arrays of ids, at least one.
        length: of the array; None for that of the longest.

    Returns:
        (N, L) int64.
    """
    whole = max(map(len, tokens), default=0) if length is None else length
    batch = np.full((len(tokens), whole), PADDING, dtype=np.int64)
    for row, ids in zip(batch, tokens, strict=True):
        row[: len(ids)] = ids[:whole]
    return batch


def lengths_of(batch: Tokens) -> NDArray[np.int64]:
    """Return (N,) how many tokens of each row of (N, L) are no padding."""
    found: NDArray[np.int64] = (np.asarray(batch) >= 0).sum(axis=1)
    return found
