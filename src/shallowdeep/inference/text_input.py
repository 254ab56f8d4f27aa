"""Texts as a network's input: token ids, and how long each is (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shallowdeep.data.text import PADDING, TextPreprocessing, Tokens, padded
from shallowdeep.errors import DataError
from shallowdeep.exits.arrays import Array, namespace_of


def texts_of(given: Any) -> list[str] | None:  # noqa: ANN401 - whatever a caller gives
    """Return the texts that were given: one alone, or a list of them; None for an array.

    Raises:
        DataError: neither.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, (list, tuple)):
        wrong = next((item for item in given if not isinstance(item, str)), None)
        if wrong is not None:
            raise DataError(f"Expected texts, got a list with {type(wrong).__name__}")
        return list(given)
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        return None
    raise DataError(f"Expected texts, or an array of token ids (N, L), got {type(given).__name__}")


def read_texts(texts: Sequence[str], preprocessing: TextPreprocessing) -> Tokens:
    """Return token ids (N, L) int64 of texts, padded to the longest.

    Raises:
        ModelError: tokenizers is not installed.
    """
    if not texts:
        return np.zeros((0, 1), dtype=np.int64)
    return padded(preprocessing.encode(texts)[0])


def check_tokens(tokens: Array, known: TextPreprocessing | None) -> None:
    """Refuse what are no token ids.

    Args:
        tokens: (N, L) integers, `PADDING` where a text has ended.
        known: how the network's texts become ids; None where that is not known.

    Raises:
        DataError: of another shape or type, too long, with a row of padding alone, or with an id that there is not.
    """
    xp = namespace_of(tokens)
    if tokens.ndim != 2:  # noqa: PLR2004 - (N, L)
        raise DataError(f"Expected token ids of shape (N, L), got {tuple(tokens.shape)}")
    if not xp.isdtype(tokens.dtype, "integral"):
        raise DataError(f"Expected token ids, integers, got dtype {tokens.dtype}")
    if known is not None and tokens.shape[1] > known.max_length:
        raise DataError(f"Expected texts of at most {known.max_length} tokens, got {tokens.shape[1]}")
    if known is not None and len(tokens) and int(xp.max(tokens)) >= known.vocabulary:
        raise DataError(f"Expected token ids below {known.vocabulary:,}, got {int(xp.max(tokens)):,}")
    if len(tokens) and not bool(xp.all(xp.any(tokens >= 0, axis=1))):
        raise DataError("Expected texts of at least one token, got one of padding alone")


def token_counts(tokens: Array) -> Array:
    """Return (N,) how many tokens of (N, L) each text has, up to its last one."""
    xp = namespace_of(tokens)
    places = xp.arange(1, tokens.shape[1] + 1, dtype=xp.int64, **_place(tokens))
    return xp.max(xp.where(tokens >= 0, places[None, :], xp.zeros_like(tokens)), axis=1)


def fitted(tokens: Array, length: int) -> Array:
    """Return a copy of token ids cut or padded to a length."""
    xp, width = namespace_of(tokens), tokens.shape[1]
    if length <= width:
        return xp.asarray(tokens[:, :length], copy=True)
    more = xp.full((len(tokens), length - width), PADDING, dtype=tokens.dtype, **_place(tokens))
    return xp.concat([tokens, more], axis=1)


def _place(array: Array) -> dict[str, Any]:
    """The device of an array, as an argument."""
    return {} if isinstance(array, np.ndarray) else {"device": array.device}
