"""Networks and settings that conversion refuses, in one line that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.sdn.convert import convert

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Tiny(nn.Module):
    """Four convolutions and a linear head on 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        output: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return output


class Branching(nn.Module):
    """A block that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """One way for positive sums, one for others."""
        output: Tensor = self.conv(x) if x.sum() > 0 else self.conv(x).relu()
        return output


class UNet(nn.Module):
    """Skips around everything: no place holds one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, 4, 3, padding=1)
        self.bottom = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        y = self.bottom(self.encode(x).relu())
        output: Tensor = self.head(torch.cat([x, y], dim=1).mean((2, 3)))
        return output


def message_of(backbone: nn.Module, example: Tensor = EXAMPLE, **settings: Any) -> str:  # noqa: ANN401 - of convert
    """The one-line message of the ConversionError that conversion ends with; the backbone is as it was."""
    attributes, modes = set(vars(backbone)), [m.training for m in backbone.modules()]
    with pytest.raises(ConversionError) as caught:
        convert(backbone, example, **settings)
    assert set(vars(backbone)) == attributes
    assert [m.training for m in backbone.modules()] == modes
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_cut_point_names_what_stays_alive() -> None:
    """A U-Net-like network is refused with the module and line that read the old value, and what to do."""
    message = message_of(UNet())
    assert "UNet has no cut point" in message
    assert "test_convert_errors.py:" in message
    assert "UNet.forward reads it" in message
    assert "one submodule" in message


def test_no_cut_point_for_an_untraceable_trunk_names_it() -> None:
    """A network that is one untraceable module is refused with that module and the line that stopped tracing."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = Branching()

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.trunk(x).mean((2, 3))
            return output

    message = message_of(Whole())
    assert "trunk is run whole, because it cannot be traced at " in message
    assert "test_convert_errors.py:" in message


def test_more_exits_than_cut_points_tells_how_many_are_possible() -> None:
    """Five exits on a network with three cut points are refused with the number three."""
    message = message_of(Tiny(), fractions=(0.1, 0.3, 0.5, 0.7, 0.9))
    assert "at most 3 internal classifiers" in message
    assert "got 5" in message


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5])
def test_fractions_outside_the_open_interval_are_refused(fraction: float) -> None:
    """0 and 1 are no places for an internal classifier."""
    with pytest.raises(ConfigurationError, match=r"in \(0, 1\)"):
        convert(Tiny(), EXAMPLE, fractions=[fraction])


@pytest.mark.parametrize("wrap", [lambda y: ((y, y),), lambda y: {"a": {"b": y}}, lambda y: [[y]]])
def test_outputs_that_are_not_logits_are_refused(wrap: Any) -> None:  # noqa: ANN401 - a function of logits
    """Tensors in tables of tables are not looked for; it is told what to do."""

    class Wrapped(Tiny):
        def forward(self, x: Tensor) -> Any:  # noqa: ANN401 - that is the point
            return wrap(super().forward(x))

    message = message_of(Wrapped())
    assert "one tensor of logits (N, C), got several values" in message
    assert "wrap it" in message


def test_logits_of_another_shape_are_refused() -> None:
    """Maps instead of logits are told by their shape."""
    assert "(1, 4, 8, 8)" in message_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))


def test_an_example_that_does_not_fit_is_told() -> None:
    """Four channels for a network of three end in one line with the shape."""
    assert "example input of shape (1, 4, 8, 8)" in message_of(Tiny(), torch.zeros(1, 4, 8, 8))


def test_a_network_without_products_is_refused() -> None:
    """Nothing to place by: no multiply-adds."""
    assert "convolutions or matrix products" in message_of(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()))


def test_names_of_cut_points_are_checked() -> None:
    """Unknown names and names out of order are refused."""
    backbone = Tiny()
    names = [exit_.cut for exit_ in convert(backbone, EXAMPLE, fractions=(0.2, 0.5)).exits[:-1]]
    assert "nowhere" in message_of(backbone, at=["nowhere"])
    assert "execution order" in message_of(backbone, at=names[::-1])


def test_numbers_of_settings_must_agree() -> None:
    """One head and one fraction for each internal classifier; a gap below 1."""
    backbone = Tiny()
    cut = convert(backbone, EXAMPLE, fractions=(0.5,)).exits[0].cut
    with pytest.raises(ConfigurationError, match="one head for each of 2"):
        convert(backbone, EXAMPLE, fractions=(0.2, 0.5), heads=["pooled"])
    with pytest.raises(ConfigurationError, match="one fraction for each of 1"):
        convert(backbone, EXAMPLE, fractions=(0.2, 0.5), at=[cut])
    with pytest.raises(ConfigurationError, match="minimum_gap"):
        convert(backbone, EXAMPLE, minimum_gap=1.0)
    with pytest.raises(ConfigurationError, match="head among pooled, conv"):
        convert(backbone, EXAMPLE, heads="wide")


def test_forward_that_depends_on_something_else_is_refused() -> None:
    """A network that is random in eval mode cannot be converted exactly, and is told so."""

    class Random(Tiny):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.rand_like(x))

    assert "depends on something besides its input" in message_of(Random())
