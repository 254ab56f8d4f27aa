"""The network inside what people wrap around one, and copies of networks with computed weights."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from shallowdeep.errors import ConversionError
from shallowdeep.runtime import evaluating

M = TypeVar("M", bound=nn.Module)


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the module that `torch.compile`, DataParallel or DistributedDataParallel was given.

    Raises:
        ConversionError: no module, or one whose train mode is gone: a script, or a graph of `torch.export`.
    """
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif type(network).__name__ == "OptimizedModule" and isinstance(getattr(network, "_orig_mod", None), nn.Module):
            network = network._orig_mod  # type: ignore[assignment]  # noqa: SLF001 - torch.compile has no other name for it
        else:
            break
    name = type(network).__name__
    if isinstance(network, torch.jit.ScriptModule):
        raise ConversionError(f"Expected a network as it was before torch.jit, got {name}, which cannot be traced")
    if not isinstance(network, nn.Module):
        raise ConversionError(
            f"Expected a torch.nn.Module, got {name}"
            + (": convert the module that was exported" if name == "ExportedProgram" else "")
        )
    try:
        with evaluating(network):
            pass
    except NotImplementedError as error:  # how torch.export's graphs refuse it
        raise ConversionError(
            f"Expected a network with a train and an eval mode, got {name} of torch.export, which has one alone: "
            "convert the module that was exported"
        ) from error
    return network


def copied(network: M) -> M:
    """Return a deep copy, also of a network whose layers keep tensors that autograd made, as weight_norm does.

    Such a tensor is made anew from parameters at every forward; the copy keeps its value without its history.
    """
    memo: dict[int, Any] = {}
    for module in network.modules():
        memo |= computed_in(module)
    return copy.deepcopy(network, memo)


def computed_in(module: nn.Module) -> dict[int, Tensor]:
    """Return tensors that autograd made and a module keeps, as entries of deepcopy's memo: copies without history."""
    kept = [value for value in vars(module).values() if isinstance(value, Tensor) and not value.is_leaf]
    return {id(value): value.detach().clone() for value in kept}
