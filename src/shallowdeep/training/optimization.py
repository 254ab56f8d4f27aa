"""Optimisers built from hyper-parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from shallowdeep.errors import UnknownNameError
from shallowdeep.training.hyperparameters import OPTIMIZERS, Hyperparameters
from shallowdeep.training.muon import MuonAndSgd


def build_optimizer(module: nn.Module, settings: Hyperparameters) -> Optimizer:
    """An optimiser over the parameters of ``module`` that require gradients.

    Raises:
        UnknownNameError: the optimiser is unknown.
    """
    if settings.optimizer == "muon":
        return MuonAndSgd(module, settings.learning_rate, settings.momentum, settings.weight_decay)
    trained = [p for p in module.parameters() if p.requires_grad]
    if settings.decay_all:
        groups = [{"params": trained, "weight_decay": settings.weight_decay}]
    else:
        groups = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov
        )
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    raise UnknownNameError("optimizer", settings.optimizer, OPTIMIZERS)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate, times its own factor where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
