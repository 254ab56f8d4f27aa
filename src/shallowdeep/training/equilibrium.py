"""Gradient equilibrium: the trunk receives the mean of all downstream gradients instead of their sum.

At exit i (from 0) of E the trunk receives ``(g_head + (E-i-1)·g_later) / (E-i)``, while every internal classifier keeps
its full gradient. The forward pass is the network's own.

Source: Li et al., "Improved Techniques for Training Adaptive Deep Networks", ICCV 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shallowdeep.sdn.inputs import Inputs
from shallowdeep.sdn.network import ShallowDeepNetwork


class Balanced(nn.Module):
    """A network whose trunk receives balanced gradients; its parameters are the network's.

    Args:
        network: with internal classifiers.
    """

    def __init__(self, network: ShallowDeepNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Inputs) -> Tensor:
        """Logits of all exits (E, N, C), as the network gives them."""
        network, previous = self.network, None
        x, inputs, mask = network.entering(images)
        exits = len(network.exits)
        logits = []
        for place, (stage, classifier) in enumerate(zip(network.stages, network.internal_classifiers, strict=False)):
            x = stage(network.backbone, x, inputs)
            later = exits - place - 1
            previous = classifier(scaled_gradient(x, 1 / (later + 1)), previous, mask)
            logits.append(previous)
            x = scaled_gradient(x, later / (later + 1))
        logits.append(network.stages[-1](network.backbone, x, inputs))
        return torch.stack(logits)


def scaled_gradient(x: Tensor, scale: float) -> Tensor:
    """Return a copy of ``x`` whose gradient is scaled on the way back."""
    copy: Tensor = _ScaledGradient.apply(x, scale)
    return copy


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # noqa: ANN401 - torch gives it no type
        ctx.scale = scale
        return x.clone()  # no view: what comes next may work in place

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch gives it no type
        return gradients[0] * ctx.scale, None
