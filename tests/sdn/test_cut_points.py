"""Where one tensor is alive."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.cut_points import CutPoint, cut_points, live_alone
from shallowdeep.sdn.profile import profile
from shallowdeep.sdn.tracing import trace

EXAMPLE = torch.zeros(1, 3, 8, 8)


def cuts(net: nn.Module, example: Tensor = EXAMPLE) -> list[CutPoint]:
    """The cut points of a network."""
    traced = trace(net)
    return cut_points(traced, profile(traced, example))


def alone(net: nn.Module) -> list[str]:
    """Names of the nodes after which one tensor is alive."""
    traced = trace(net)
    return [node.name for node in live_alone(traced.graph, profile(traced, EXAMPLE))]


class Residual(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4, H, W)."""
        output: Tensor = x + self.second(self.first(x).relu())
        return output


class Net(nn.Module):
    """Stem, two residual blocks, pooling, head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Residual(), Residual())
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        output: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return output


def test_residual_blocks_are_cut_between_not_inside() -> None:
    """Inside a residual block two tensors are alive; at its end one."""
    assert alone(Net()) == ["images", "stem_0", "stem_1", "stem_2", "add", "add_1", "mean", "head"]


def test_last_of_equal_depth_and_the_module_that_closes_there() -> None:
    """Stem: after norm and activation, named for the whole stem; depth by hand: 3·4·64 of 768 + 4·9216 + 20 MACs."""
    total = 3 * 4 * 64 + 4 * 4 * 4 * 9 * 64 + 20
    found = cuts(Net())
    assert [cut.name for cut in found] == ["stem_2", "add"]
    assert [cut.module for cut in found] == ["stem", "blocks.0"]
    assert [cut.level for cut in found] == [1, 2]
    assert [cut.macs for cut in found] == [768, 768 + 2 * 9216]
    assert [cut.depth for cut in found] == [768 / total, (768 + 2 * 9216) / total]
    assert [cut.shape for cut in found] == [(1, 4, 8, 8), (1, 4, 8, 8)]


def test_the_last_five_per_cent_are_no_place() -> None:
    """After the second block 20 of 37652 MACs are left, so nothing is placed there."""
    assert all(cut.depth <= 0.95 for cut in cuts(Net()))


class ReadsInputShapeLate(Net):
    """Asks the input's size after all layers."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        y = self.blocks(self.stem(x)).mean((2, 3))
        output: Tensor = self.head(y.view(x.size(0), -1))
        return output


def test_reading_a_shape_keeps_nothing_alive() -> None:
    """``x.size(0)`` at the end does not make the input a live activation."""
    assert [cut.name for cut in cuts(ReadsInputShapeLate())] == ["stem_2", "add"]


class ReadsContents(Net):
    """Scales the end by a number read from the stem's output."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.stem(x)
        scale = x.abs().mean().item()
        output: Tensor = self.head(self.blocks(x).mean((2, 3)) * scale)
        return output


def test_numbers_read_from_tensors_are_alive() -> None:
    """``.item()`` depends on the images, so there is no cut while its number waits."""
    assert [cut.name for cut in cuts(ReadsContents())] == ["stem_2"]


class Overwritten(nn.Module):
    """Changes the first convolution's output in place where another operation reads it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        x = self.first(x)
        flat = x.flatten(2)  # a view: adding to it changes x
        flat.add_(1.0)
        output: Tensor = self.second(x).mean((2, 3))
        return output


def test_overwritten_values_are_no_cut() -> None:
    """A value that an operation on a view of it changes later is not what an internal classifier would read."""
    with pytest.raises(ConversionError, match="no cut point"):
        cuts(Overwritten())


class Constant(nn.Module):
    """Parameters enter late; they are no activations."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        scale = self.scale.exp()
        x = self.first(x)
        output: Tensor = self.second(x).mean((2, 3)) * scale
        return output


def test_parameters_are_not_alive() -> None:
    """A value of parameters alone, made early and used late, does not hide cuts."""
    assert [cut.name for cut in cuts(Constant())] == ["first"]


class Regions(nn.Module):
    """Moves windows into the batch dimension between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        batch = x.shape[0]
        x = self.first(x).reshape(batch * 2, 4, 4, 8)
        x = self.second(x)
        return x.reshape(batch, 4, -1).mean(2)


def test_only_tensors_with_the_batch_first_are_cuts() -> None:
    """A tensor of two rows for each sample is passed over; the one before it is taken."""
    assert [cut.name for cut in cuts(Regions())] == ["first"]


def test_nothing_to_count_is_refused() -> None:
    """A network without multiply-adds has no depth."""
    with pytest.raises(ConversionError, match="convolutions or matrix products"):
        cuts(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()))
