"""Muon for convolutions, SGD for everything else, as one optimiser.

Muon replaces the momentum of a kernel, seen as a matrix (outputs by all else), by the nearest orthogonal matrix, so
that every direction moves as far. PyTorch's `torch.optim.Muon` takes matrices only; a test holds our steps to its.

Source: Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024; weights of classifiers, of convolutions
in groups, norms and biases by SGD, as its author does on CIFAR-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

MOMENTUM, DECAY, NEWTON_STEPS = 0.6, 0.1, 3
SGD_FACTOR = 3.0  # between Muon's learning rate and that of what SGD trains
_COEFFICIENTS, _EPSILON = (3.4445, -4.7750, 2.0315), 1e-7  # of the Newton-Schulz iteration


class MuonAndSgd(Optimizer):
    """Muon for ordinary convolutions, SGD with Nesterov's momentum for the other parameters.

    Args:
        module: whose parameters that require gradients are trained.
        learning_rate: of Muon; SGD's is three times as high.
        momentum: of SGD.
        weight_decay: of SGD, on matrices; norms and biases are not decayed.
    """

    def __init__(self, module: nn.Module, learning_rate: float, momentum: float, weight_decay: float) -> None:
        trained = [p for p in module.parameters() if p.requires_grad]
        convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
        known = {id(m.weight) for m in convolutions}
        kernels, others = [p for p in trained if id(p) in known], [p for p in trained if id(p) not in known]
        groups = [
            {"params": kernels, "muon": True, "factor": 1.0, "momentum": MOMENTUM, "weight_decay": DECAY},
            {"params": [p for p in others if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
        ]
        defaults = {"lr": learning_rate, "momentum": momentum, "muon": False, "factor": SGD_FACTOR}
        super().__init__([group for group in groups if group["params"]], defaults)
        for group in self.param_groups:
            group["lr"] = learning_rate * group["factor"]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; without ``closure``, which nothing here needs."""
        if closure is not None:
            raise ValueError("Expected no closure, got one")
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            buffers = [self._buffer(p) for p in held]
            (_muon_step if group["muon"] else _sgd_step)(group, held, buffers)
        return None

    def _buffer(self, parameter: Tensor) -> Tensor:
        """A parameter's momentum, in its memory format."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _muon_step(group: dict[str, Any], held: list[Tensor], buffers: list[Tensor]) -> None:
    rate, momentum = group["lr"], group["momentum"]
    for parameter, buffer in zip(held, buffers, strict=True):
        if parameter.grad is None:
            continue
        kernel, average = _matrix(parameter), _matrix(buffer)
        gradient = _matrix(parameter.grad.to(memory_format=_format(parameter)))
        average.lerp_(gradient, 1 - momentum)
        update = _orthogonal(gradient.lerp(average, momentum))  # Nesterov's
        rows, columns = kernel.shape
        kernel.mul_(1 - rate * group["weight_decay"])
        kernel.add_(update, alpha=-rate * math.sqrt(max(1, rows / columns)))


def _orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest orthogonal matrix, in bfloat16, by Newton and Schulz's iteration."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype=torch.bfloat16, copy=True)
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=_EPSILON))
    for _ in range(NEWTON_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def _sgd_step(group: dict[str, Any], held: list[Tensor], buffers: list[Tensor]) -> None:
    gradients = [p.grad for p in held if p.grad is not None]
    given: list[Tensor | None] = [*buffers]
    sgd(
        held,
        gradients,
        given,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=0.0,
        nesterov=True,
        maximize=False,
    )


def _format(kernel: Tensor) -> torch.memory_format:
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _matrix(kernel: Tensor) -> Tensor:
    """A kernel (O, I, H, W) as a matrix of O rows on the same memory; the order of its columns changes nothing."""
    if _format(kernel) == torch.channels_last:
        return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)
    return kernel.view(len(kernel), -1)
