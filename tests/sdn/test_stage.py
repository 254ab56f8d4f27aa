"""Parts of a backbone as functions."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.cut_points import cut_points
from shallowdeep.sdn.profile import profile
from shallowdeep.sdn.stage import Stage, WholeStage, split
from shallowdeep.sdn.tracing import trace

EXAMPLE = torch.zeros(1, 3, 4, 4)


def stages_of(net: nn.Module) -> tuple[Stage, ...]:
    """A stage for every cut point of a network, and the rest."""
    traced = trace(net)
    profiles = profile(traced, EXAMPLE)
    return split(traced, profiles, cut_points(traced, profiles))


def in_turn(stages: tuple[Stage, ...], net: nn.Module, x: Tensor) -> Tensor:
    """All stages, one after the other."""
    for stage in stages:
        x = stage(net, x)
    return x


class Two(nn.Module):
    """Two convolutions, and whatever the test puts between and after them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        output: Tensor = self.second(self.first(x)).mean((2, 3))
        return output


class Crossing(Two):
    """Reads sizes early and late, multiples of the batch, a device, a parameter and a created tensor on both sides."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        size, device = x.shape, x.device
        batch, height, factor = x.size(0), x.size(2), 2 * self.scale.sum().item()
        rows, scale = batch * height, self.scale.exp()
        constant = torch.tensor([1.0, 2.0, 3.0, 4.0])
        offset = torch.arange(batch, device=device).view(batch, 1)
        y = self.first(x) * scale.view(-1, 1, 1) + constant.view(-1, 1, 1)
        y = self.second(y).mean(3).reshape(rows, 4).reshape(batch, 4, height).mean(2)
        y = y * scale * constant + offset + (size.numel() - 1) / (batch + 1) * factor
        output: Tensor = y + torch.full((x.size(0), 1), 2.0, dtype=x.dtype, device=device)
        return output


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_sizes_and_constants_are_made_again(samples: int) -> None:
    """What holds no activation is recomputed on the far side of the cut, at any batch size."""
    net = Crossing()
    stages = stages_of(net)
    assert len(stages) == 2
    x = torch.randn(samples, 3, 4, 4)
    assert torch.equal(in_turn(stages, net, x), net(x))
    nn.init.constant_(net.scale, 3.0)  # what follows from parameters follows them
    assert torch.equal(in_turn(stages, net, x), net(x))


def test_stages_own_nothing() -> None:
    """A stage runs on the backbone it is given, so that one set of stages serves copies and averages."""
    net = Two()
    stages = stages_of(net)
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.data.mul_(2.0)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(in_turn(stages, other, x), other(x))
    assert not torch.equal(other(x), net(x))
    assert stages[0].targets == ("first",)
    assert stages[1].targets == ("second",)


def _pickled(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Through bytes and back."""
    result: tuple[Stage, ...] = pickle.loads(pickle.dumps(stages))  # noqa: S301 - our own bytes
    return result


@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_stages_can_be_copied_and_pickled(duplicate: Any) -> None:  # noqa: ANN401 - a function
    """Modules named in the generated code go by name, created tensors by value."""
    net = Crossing()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(in_turn(duplicate(stages_of(net)), net, x), net(x))


def test_generated_code_can_be_read() -> None:
    """Source and tracebacks show what a stage does."""
    stage = stages_of(Two())[0]
    assert "self.first(x)" in stage.source
    assert "self.first(x)" in inspect.getsource(stage.function)


class OneMore(Two):
    """Reads the size of a tensor with one row more than the batch, and uses it after the cut."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        more = torch.cat([x, x[:1]]).size(0)
        output: Tensor = self.second(self.first(x)).mean((2, 3)) * torch.ones(more, 1)[0]
        return output


def test_sizes_that_are_no_multiple_of_the_batch_are_refused() -> None:
    """2 rows for one sample and 3 for two are no constant and no multiple."""
    with pytest.raises(ConversionError, match="multiple of the batch size, got 2 for 1 and 3 for 2"):
        stages_of(OneMore())


def test_whole_stage_is_the_backbone() -> None:
    """A network without internal classifiers is not traced."""
    net, x = Two(), torch.randn(2, 3, 4, 4)
    assert torch.equal(WholeStage()(net, x), net(x))
