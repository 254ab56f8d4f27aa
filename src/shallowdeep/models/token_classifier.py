"""A text classifier as a network of one input: token ids, negative where they are padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class TokenClassifier(nn.Module):
    """A sequence classifier of `transformers` that takes token ids alone.

    Args:
        model: takes ``input_ids`` and ``attention_mask``, and returns an object with ``logits``.
        padding_id: that the model's own tokenizer pads with.
    """

    def __init__(self, model: nn.Module, padding_id: int) -> None:
        super().__init__()
        self.model = model
        self.padding_id = padding_id

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (N, C).

        Args:
            tokens: (N, L) int64, negative where a text has ended.
        """
        mask = tokens >= 0
        output: Any = self.model(
            input_ids=torch.where(mask, tokens, self.padding_id), attention_mask=mask.to(tokens.dtype)
        )
        logits: Tensor = output.logits
        return logits
