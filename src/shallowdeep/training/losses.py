"""Losses over the logits of all exits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from shallowdeep.errors import ConfigurationError

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


def exit_loss(logits: Tensor, labels: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Sum over exits of weight times cross-entropy: what to minimise in a training loop of your own.

    Args:
        logits: (E, N, C), unnormalised, as a `ShallowDeepNetwork` returns them.
        labels: (N,) int64 in [0, C).
        weights: E of them; None for 1 each.

    Returns:
        A scalar, float32.

    Raises:
        ConfigurationError: not one weight for each exit.

    Example:
        >>> import torch, shallowdeep
        >>> logits = torch.zeros(3, 8, 10)  # three exits, eight images, ten classes
        >>> round(float(shallowdeep.exit_loss(logits, torch.zeros(8, dtype=torch.long), [0.5, 0.5, 1.0])), 3)
        4.605
    """
    losses = exit_losses(logits, labels)
    weights = [1.0] * len(losses) if weights is None else weights
    if len(weights) != len(losses):
        raise ConfigurationError(f"Expected {len(losses)} weights, one for each exit, got {len(weights)}")
    return (losses * torch.tensor(weights, dtype=losses.dtype, device=losses.device)).sum()


@dataclass(frozen=True)
class Distillation:
    """How much the final exit teaches the internal classifiers.

    Attributes:
        share: w, of their loss, in [0, 1].
        temperature: T, above 0, that softens both answers.
    """

    share: float
    temperature: float


def distilled_losses(logits: Tensor, labels: Tensor, distillation: Distillation) -> Tensor:
    """Loss of each exit, the internal classifiers taught by the final exit too.

    ``(1-w)·CE_k + w·T²·KL(p_F^T || p_k^T)`` for each internal classifier, the final exit detached; its own loss stays
    cross-entropy. The divergence is the mean over the batch.

    Args:
        logits: (E, N, C), unnormalised.
        labels: (N,).
        distillation: w and T.

    Returns:
        (E,), float32.

    Source: Zhang et al., "Be Your Own Teacher", ICCV 2019.
    """
    share, temperature = distillation.share, distillation.temperature
    losses = exit_losses(logits, labels)
    softened = F.log_softmax(logits.float() / temperature, dim=-1)
    teacher = softened[-1].detach()
    apart = (teacher.exp() * (teacher - softened[:-1])).sum(dim=-1).sum(dim=1) / max(len(labels), 1)  # (E-1,)
    taught = (1 - share) * losses[:-1] + share * temperature**2 * apart
    return torch.cat([taught, losses[-1:]])
