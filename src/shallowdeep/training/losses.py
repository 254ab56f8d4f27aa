"""Losses over the logits of all exits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FIRST_WEIGHT = 0.01


def exit_weights(targets: Sequence[float], epoch: int, epochs: int) -> tuple[float, ...]:
    """Weights of the internal classifiers' losses, ``t_k = min(C_k, 0.01 + epoch·C_k/epochs)``.

    Args:
        targets: C_k of each internal classifier: the paper's .15 … .90, or any exits' target fractions.
        epoch: counted from 1.
        epochs: how many there are.

    Source: Kaya et al. 2019, section 3.2 and the authors' code.
    """
    return tuple(min(target, FIRST_WEIGHT + epoch * target / epochs) for target in targets)


def exit_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each exit, (E,), from logits (E, N, C) and labels (N,); 0 where a device has no image."""
    exits, samples, classes = logits.shape
    flat = F.cross_entropy(logits.float().reshape(-1, classes), labels.repeat(exits), reduction="none")
    return flat.view(exits, samples).sum(dim=1) / max(samples, 1)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Sequence[float]) -> Tensor:
    """Sum over exits of weight times cross-entropy.

    Args:
        logits: (E, N, C), unnormalised.
        labels: (N,).
        weights: E of them.

    Returns:
        A scalar, float32.
    """
    losses = exit_losses(logits, labels)
    return (losses * torch.tensor(weights, dtype=losses.dtype, device=losses.device)).sum()
