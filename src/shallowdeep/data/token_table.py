"""The token ids of one part of a text dataset, made once and shared by its splits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.data.splits import Indices
from shallowdeep.data.stores import TextStore
from shallowdeep.data.text import TextPreprocessing, Tokens, padded
from shallowdeep.progress import SILENT, Progress

_AT_ONCE = 4_096  # texts tokenized together


class TokenTable:
    """N texts of a part as token ids; `DecodedImages` for text.

    Args:
        store: the texts.
        preprocessing: how they become ids.

    Attributes:
        cut: how many texts were longer than the network takes.
    """

    def __init__(self, store: TextStore, preprocessing: TextPreprocessing) -> None:
        self._store, self._preprocessing = store, preprocessing
        self._tokens: list[Tokens] = []
        self.cut = 0

    def ensure(self, positions: Indices, what: str, *, skip: bool = False, progress: Progress = SILENT) -> bool:
        """Tokenize all texts, if they are not yet; return whether there were any to do.

        Args:
            positions: of those that are needed; all are done at once.
            what: names the work for `progress`.
            skip: without effect: there is no unreadable text.
            progress: told how many texts are done.
        """
        del positions, skip
        if len(self._tokens) == len(self._store):
            return False
        with progress.start(f"tokenizing {what}", "texts", len(self._store)) as bar:
            for start in range(0, len(self._store), _AT_ONCE):
                texts = self._store.texts(start, start + _AT_ONCE)
                tokens, cut = self._preprocessing.encode(texts)
                self._tokens += tokens
                self.cut += cut
                bar.advance(len(texts))
        return True

    def is_bad(self, positions: Indices) -> NDArray[np.bool_]:
        """Return (B,) False: every text can be read."""
        return np.zeros(len(positions), dtype=np.bool_)

    def select(self, positions: Indices) -> Tensor:
        """Return (B, L) int64 of texts that `ensure` has tokenized, padded to the longest of them."""
        return torch.from_numpy(padded([self._tokens[place] for place in positions.tolist()]))

    def lengths(self, positions: Indices) -> NDArray[np.int64]:
        """Return (B,) how many tokens each text has."""
        return np.array([len(self._tokens[place]) for place in positions.tolist()], dtype=np.int64)
