"""Balanced gradients: the same answers, full gradients for heads, the mean of all downstream ones for the trunk."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.equilibrium import Balanced, scaled_gradient
from shallowdeep.training.losses import exit_losses


def tiny(*, cascaded: bool = False) -> ShallowDeepNetwork:
    """Four convolutions and two internal classifiers."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(8 if k else 3, 8, 3, padding=1), nn.ReLU(inplace=True)) for k in range(4)]
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return convert(backbone, torch.zeros(1, 3, 8, 8), fractions=(0.3, 0.6), cascaded=cascaded).eval()


def batch() -> tuple[Tensor, Tensor]:
    """Six images and labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 8, 8, generator=generator), torch.randint(0, 4, (6,), generator=generator)


def gradients(module: nn.Module, network: ShallowDeepNetwork) -> dict[str, Tensor]:
    """Of the sum of all exits' losses, by name."""
    images, labels = batch()
    network.zero_grad()
    exit_losses(module(images), labels).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("cascaded", [False, True])
def test_answers_are_the_networks(*, cascaded: bool) -> None:
    """Bit for bit."""
    network = tiny(cascaded=cascaded)
    images, _ = batch()
    assert torch.equal(Balanced(network)(images), network(images))


def test_heads_keep_their_gradients_and_the_trunk_gets_the_mean() -> None:
    """By the formula, stage by stage: (g_head + (E-i-1)·g_later) / (E-i) at exit i."""
    network = tiny()
    plain, balanced = gradients(network, network), gradients(Balanced(network), network)
    for name, gradient in plain.items():
        if name.startswith(("internal_classifiers", "backbone.6")):  # heads, and the final classifier behind all exits
            assert torch.allclose(balanced[name], gradient, atol=1e-7), name
    by_exit = []
    for k in range(3):
        images, labels = batch()
        network.zero_grad()
        exit_losses(network(images), labels)[k].backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        first = network.get_parameter("backbone.0.0.weight").grad
        assert first is not None
        by_exit.append(first.clone())
    expected = by_exit[0] / 3 + 2 / 3 * (by_exit[1] / 2 + by_exit[2] / 2)
    assert torch.allclose(balanced["backbone.0.0.weight"], expected, atol=1e-6)
    assert torch.allclose(expected, torch.stack(by_exit).mean(0), atol=1e-6)


def test_a_network_without_exits_is_left_alone() -> None:
    """The backbone's phase of `mixed` has nothing to balance."""
    network = tiny()
    single = ShallowDeepNetwork.without_exits(copy.deepcopy(network.backbone), network.backbone_macs)
    plain, balanced = gradients(single, single), gradients(Balanced(single), single)
    assert all(torch.equal(balanced[name], gradient) for name, gradient in plain.items())


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_a_scaled_gradient(scale: float) -> None:
    """Forward a copy that may be written to, backward the gradient times the scale."""
    x = torch.ones(3, requires_grad=True)
    y = scaled_gradient(x * 1, scale)
    y.add_(1)
    y.square().sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert x.grad is not None
    assert x.grad.tolist() == [4 * scale] * 3
