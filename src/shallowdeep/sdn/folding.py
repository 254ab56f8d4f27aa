"""Batch normalisation folded into the convolution before it: the same function in eval mode, with less to do."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from shallowdeep.runtime import evaluating
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.network import ShallowDeepNetwork

_NEAR = 1e-3  # of the largest value, between the outputs of both


def folded(network: ShallowDeepNetwork, example: Tensor) -> ShallowDeepNetwork:
    """A copy for inference whose normalisations after convolutions are folded into these.

    Which follow which is seen by running the example. Where folding would change what the network computes (a
    convolution's output that something else reads, say), the copy is left as it is.

    Args:
        network: left as it is.
        example: (N, 3, H, W), on its device.

    Returns:
        In eval mode, without gradients.
    """
    plain = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    changed = copy.deepcopy(plain)
    for convolution, norm in _pairs(changed, example):
        _fold(changed.backbone, convolution, norm)
    with torch.no_grad():
        expected, got = (logits_of(one.backbone(example)) for one in (plain, changed))
    equal = torch.allclose(got, expected, rtol=0.0, atol=_NEAR * float(expected.abs().max()))
    return changed if equal else plain


def _pairs(network: ShallowDeepNetwork, example: Tensor) -> list[tuple[str, str]]:
    """Paths of convolutions and of the normalisations that read their outputs, where each runs once."""
    makers: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no other tensor gets their place in memory
    found: list[tuple[str, str]] = []
    runs: dict[str, int] = {}

    def watch(path: str, module: nn.Module) -> Any:  # noqa: ANN401 - torch's handle
        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[path] = runs.get(path, 0) + 1
            if isinstance(module, nn.Conv2d):
                makers[id(output)] = path
                kept.append(output)
            elif id(inputs[0]) in makers:
                found.append((makers[id(inputs[0])], path))

        return module.register_forward_hook(after)

    watched = [
        (path, module)
        for path, module in network.backbone.named_modules()
        if type(module) in {nn.Conv2d, nn.BatchNorm2d} and (isinstance(module, nn.Conv2d) or module.track_running_stats)
    ]
    handles = [watch(path, module) for path, module in watched]
    try:
        with torch.no_grad(), evaluating(network):
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in found if runs[pair[0]] == runs[pair[1]] == 1]


def _fold(backbone: nn.Module, convolution: str, norm: str) -> None:
    """Put a normalisation into its convolution, and nothing in its place."""
    conv, bn = backbone.get_submodule(convolution), backbone.get_submodule(norm)
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        return
    if bn.running_mean is None or bn.running_var is None:
        return
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    conv.weight, conv.bias = weight, bias
    parent, _, name = norm.rpartition(".")
    setattr(backbone.get_submodule(parent), name, nn.Identity())
