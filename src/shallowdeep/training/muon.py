"""Muon for convolutions, SGD for everything else, as one optimiser.

Muon replaces the momentum of a kernel, seen as a matrix (outputs by all else), by the nearest orthogonal matrix, so
that every direction moves as far; PyTorch's implementation, which takes matrices only, does the steps.

Source: Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024; weights of classifiers, of convolutions
in groups, norms and biases by SGD, as its author does on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim._muon import muon
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
    gradients = [p.grad.to(memory_format=_format(p)) for p in held if p.grad is not None]
    muon(
        [_matrix(p) for p in held],
        [_matrix(gradient) for gradient in gradients],
        [_matrix(buffer) for buffer in buffers],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        nesterov=True,
        ns_coefficients=_COEFFICIENTS,
        ns_steps=NEWTON_STEPS,
        eps=_EPSILON,
        adjust_lr_fn="original",
        has_complex=False,
    )


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
