"""Muon and SGD as one optimiser: the steps are PyTorch's own, on the weights themselves, in either memory format."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.training.muon import DECAY, MOMENTUM, NEWTON_STEPS, SGD_FACTOR, MuonAndSgd
from shallowdeep.training.optimization import set_learning_rate


def network() -> nn.Sequential:
    """An ordinary convolution, a depthwise one, a norm and a linear layer."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(32, 5)]
    return nn.Sequential(*layers)


def gradients(module: nn.Module, seed: int) -> None:
    """Give every parameter a gradient."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        value = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(value)


def matrix_of(module: nn.Module, *, grad: bool = False) -> Tensor:
    """The convolution's weight, or its gradient, as a matrix."""
    weight = module.get_parameter("0.weight")
    value = weight.grad if grad else weight.detach()
    assert value is not None
    return value.permute(0, 2, 3, 1).flatten(1)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_steps_are_pytorchs(memory_format: torch.memory_format) -> None:
    """Three steps on the convolution are `torch.optim.Muon`'s on its matrix, on all else `torch.optim.SGD`'s."""
    ours = network().to(memory_format=memory_format)
    theirs = copy.deepcopy(ours)
    kernel = nn.Parameter(matrix_of(theirs).clone())
    muon = torch.optim.Muon([kernel], lr=0.1, weight_decay=DECAY, momentum=MOMENTUM, ns_steps=NEWTON_STEPS)
    others = [p for name, p in theirs.named_parameters() if name != "0.weight"]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in others if p.dim() == 1], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.1 * SGD_FACTOR, momentum=0.9, nesterov=True)
    optimizer = MuonAndSgd(ours, 0.1, 0.9, 0.01)
    for seed in range(3):
        gradients(ours, seed)
        gradients(theirs, seed)
        kernel.grad = matrix_of(theirs, grad=True).contiguous()
        optimizer.step()
        muon.step()  # type: ignore[no-untyped-call]  # torch leaves it so
        sgd.step()
    # Newton-Schulz is done in bfloat16, whose products round by 2^-8 in another order
    torch.testing.assert_close(matrix_of(ours), kernel.detach(), atol=3 * 0.1 * 2**-6, rtol=0)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name != "0.weight":
            torch.testing.assert_close(one, other)


def test_a_convolution_moves_by_an_orthogonal_matrix() -> None:
    """Without decay and momentum all singular values of the first step are near the learning rate."""
    module = network()
    before = matrix_of(module).clone()
    optimizer = MuonAndSgd(module, 0.1, 0.9, 0.0)
    optimizer.param_groups[0].update(weight_decay=0.0, momentum=0.0)
    gradients(module, 0)
    optimizer.step()
    values = torch.linalg.svdvals(matrix_of(module) - before)
    assert 0.05 < float(values.min()) <= float(values.max()) < 0.13


def test_rates_keep_their_factor() -> None:
    """What SGD trains gets three times Muon's rate, whenever it changes."""
    optimizer = MuonAndSgd(network(), 0.2, 0.9, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.6, 0.6])
    set_learning_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.03, 0.03])


def test_groups_are_not_one_matrix() -> None:
    """Convolutions in groups learn by SGD."""
    optimizer = MuonAndSgd(nn.Conv2d(4, 4, 3, groups=2, bias=False), 0.1, 0.9, 0.0)
    assert [group["muon"] for group in optimizer.param_groups] == [False]


def test_what_has_no_gradient_stays() -> None:
    """A frozen layer is not in it, one without a gradient is left alone; a closure is refused."""
    module = network()
    module[4].requires_grad_(requires_grad=False)
    optimizer = MuonAndSgd(module, 0.2, 0.9, 0.01)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 4]  # kernel; depthwise; norm, biases
    before = copy.deepcopy(module.state_dict())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with pytest.raises(ValueError, match="Expected no closure"):
        optimizer.step(lambda: 0.0)
