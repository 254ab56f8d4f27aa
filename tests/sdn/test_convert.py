"""Conversion of real networks, whole, and of small ones that try its rules."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel

from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork

PAPER = ("vgg16", "resnet56", "wideresnet32_4", "mobilenet")
ZOO = [
    *((name, 32) for name in PAPER),
    ("torchvision:resnet18", 64),
    ("torchvision:vgg16_bn", 64),
    ("torchvision:mobilenet_v2", 64),
    ("torchvision:mobilenet_v3_small", 64),
    ("torchvision:densenet121", 64),
    ("torchvision:efficientnet_b0", 64),
    ("torchvision:regnet_y_400mf", 64),
    ("torchvision:convnext_tiny", 64),
    ("torchvision:vit_b_16", 224),
    ("torchvision:swin_t", 64),
    ("timm:resnet18", 64),
    ("timm:convnext_atto", 64),
    ("timm:vit_tiny_patch16_224", 224),
    ("timm:efficientnet_lite0", 64),
    ("timm:mobilenetv4_conv_small", 64),
    ("timm:deit_tiny_patch16_224", 224),
    ("timm:regnetx_002", 64),
]


def exact(network: ShallowDeepNetwork, backbone: nn.Module, size: int, dtype: torch.dtype = torch.float32) -> None:
    """Fail unless the final logits are the backbone's, bit for bit, in eval mode at two batch sizes."""
    network.eval()
    backbone.eval()
    with torch.no_grad():
        for samples in (1, 3):
            images = torch.randn(samples, 3, size, size, dtype=dtype)
            logits = network(images)
            assert logits.shape == (len(network.exits), samples, logits.shape[-1])
            assert torch.equal(logits[-1], backbone(images))
            assert torch.isfinite(logits).all()


def same_training(network: ShallowDeepNetwork, backbone: nn.Module, size: int) -> None:
    """Fail unless a train-mode step gives the same loss, gradients and buffers in both, from the same seed."""
    images, labels = torch.randn(2, 3, size, size), torch.tensor([0, 1])
    losses = []
    for module in (network, backbone):
        module.train()
        torch.manual_seed(3)
        logits = module(images)
        loss = F.cross_entropy(logits[-1] if module is network else logits, labels)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    for (name, ours), theirs in zip(network.backbone.named_parameters(), backbone.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name  # type: ignore[arg-type]  # both or none
    for (name, one), other in zip(network.backbone.named_buffers(), backbone.buffers(), strict=True):
        assert torch.equal(one, other), name


def copies_agree(network: ShallowDeepNetwork, size: int) -> None:
    """Fail unless a deep copy, a pickle, an EMA and a reloaded state dict give the same logits of all exits."""
    network.eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = network(images)
        copied = copy.deepcopy(network)
        assert torch.equal(copied(images), expected)
        for parameter in copied.parameters():
            parameter.zero_()
        copied.load_state_dict(network.state_dict())
        assert torch.equal(copied(images), expected)
        del copied
        assert torch.equal(pickle.loads(pickle.dumps(network))(images), expected)  # noqa: S301 - our own bytes
        assert torch.equal(AveragedModel(network)(images), expected)


@pytest.mark.parametrize(("name", "size"), ZOO, ids=[name for name, _ in ZOO])
def test_zoo(name: str, size: int) -> None:
    """A network of the zoo computes, trains, copies and comes back as it did before conversion."""
    torch.manual_seed(0)
    backbone = build(name, num_classes=10, image_size=size)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    attributes = set(vars(backbone))
    network = convert(backbone, torch.randn(1, 3, size, size))
    assert network.backbone is backbone
    assert set(vars(backbone)) == attributes
    assert len(network.exits) == 7
    back = network.to_backbone()
    assert type(back) is type(backbone)
    assert list(back.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in back.state_dict().items())
    back.load_state_dict(state)
    network.backbone.load_state_dict(state)
    exact(network, back, size)
    copies_agree(network, size)
    same_training(network, back, size)


@pytest.mark.parametrize(
    ("name", "places", "depths"),
    [
        ("vgg16", (1, 3, 5, 6, 8, 9), (12.6, 30.6, 48.7, 60.7, 78.8, 90.8)),
        ("resnet56", (3, 7, 11, 15, 19, 23), (15.4, 30.4, 44.5, 59.6, 73.7, 88.7)),
        ("wideresnet32_4", (2, 4, 6, 8, 10, 12), (16.8, 29.6, 45.7, 58.4, 74.5, 87.3)),
        ("mobilenet", (1, 3, 6, 7, 9, 11), (11.9, 26.3, 49.5, 58.7, 77.1, 90.9)),
    ],
)
def test_places_of_the_paper(name: str, places: tuple[int, ...], depths: tuple[float, ...]) -> None:
    """Internal classifiers stand where the authors' code has them; on MobileNet at the depths METHODS.md gives.

    METHODS.md names MobileNet's blocks 1, 3, 6, 8, 9, 11 beside those depths; the block that ends at 58.7 % is 7.
    """
    network = convert(build(name, num_classes=10, image_size=32), torch.zeros(1, 3, 32, 32))
    internal = network.exits[:-1]
    assert [exit_.name for exit_ in internal] == [f"blocks.{place}" for place in places]
    assert [round(100 * exit_.depth, 1) for exit_ in internal] == list(depths)
    assert [exit_.fraction for exit_ in internal] == [0.15, 0.30, 0.45, 0.60, 0.75, 0.90]


class Tiny(nn.Module):
    """Four convolutions of equal cost and a linear head on 8x8 images."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(inner or [conv_block() for _ in range(3)]))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def conv_block() -> nn.Sequential:
    """Convolution, norm, in-place activation and dropout."""
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.2))


EXAMPLE = torch.zeros(1, 3, 8, 8)


class ShapesEarly(Tiny):
    """Reads the batch size before all layers and uses it after them."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        batch, size = x.shape[0], x.shape
        doubled = batch * 2
        x = self.blocks(self.stem(x))
        x = x.view(batch, 4, -1).mean(-1).view(doubled, 2).reshape(batch, 4)
        return self.head(x + torch.zeros(size[0], 4, device=x.device) + size.numel() / batch)


class Flattening(Tiny):
    """The classic ``x.view(x.size(0), -1)``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.blocks(self.stem(x))
        return self.head(x.view(x.size(0), -1))


class CreatesTensors(Tiny):
    """Uses one created tensor early and late."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        scale = torch.tensor([1.0, 2.0, 3.0])
        x = self.blocks(self.stem(x * scale.view(3, 1, 1)))
        return self.head(x.mean((2, 3)) * scale.sum())


class SharesBlock(Tiny):
    """Runs one block three times."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.stem(x)
        for _ in range(3):
            x = self.blocks[0](x)
        return self.head(x.mean((2, 3)))


class InPlaceMethods(Tiny):
    """Overwrites values in every way Python has."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.stem(x)
        x += 1
        for block in self.blocks:
            x = block(x).relu_()
            x.mul_(0.5)
            F.relu(x, inplace=True)
        return self.head(x.mean((2, 3)))


class Branching(nn.Module):
    """A block that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """One way for positive sums, one for others."""
        return self.conv(x) if x.sum() > 0 else self.conv(x).relu()


class ListResult(nn.Module):
    """A block that hands over several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        """Two halves."""
        return {"halves": [self.left(x), self.right(x)]}


class Joining(nn.Module):
    """Joins what `ListResult` gives."""

    def forward(self, parts: dict[str, list[Tensor]]) -> Tensor:
        """Both halves."""
        return torch.cat(parts["halves"], dim=1)


USER_NETWORKS: dict[str, Any] = {
    "plain": Tiny,
    "shape integers cross stages": ShapesEarly,
    "view by batch size": Flattening,
    "created tensors": CreatesTensors,
    "shared weights": SharesBlock,
    "in-place operations": InPlaceMethods,
    "untraceable blocks": lambda: Tiny(conv_block(), Branching(), conv_block(), Branching()),
    "several tensors between blocks": lambda: Tiny(conv_block(), ListResult(), Joining(), conv_block()),
    "parametrised weights": lambda: Tiny(*(spectral_norm(nn.Conv2d(4, 4, 3, padding=1)) for _ in range(3))),
}


@pytest.mark.parametrize("make", USER_NETWORKS.values(), ids=USER_NETWORKS)
def test_user_networks(make: Any) -> None:  # noqa: ANN401 - a class or a function
    """Small networks written as users write them pass the checks of the zoo."""
    torch.manual_seed(1)
    backbone = make()
    back = copy.deepcopy(backbone)
    network = convert(backbone, EXAMPLE)
    assert len(network.exits) > 2
    exact(network, back, 8)
    copies_agree(network, 8)
    same_training(network, back, 8)


def test_inplace_operations_never_overwrite_what_a_classifier_reads() -> None:
    """The outputs that internal classifiers read are the same before and after the rest of the network ran."""
    network = convert(InPlaceMethods(), EXAMPLE).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        x, early = images, []
        for stage in network.stages[:-1]:
            x = stage(network.backbone, x.clone())
            early.append(x)
        late, _ = network.stage_outputs(images)
    assert all(torch.equal(a, b) for a, b in zip(early, late, strict=True))


def test_all_exits_train_over_inplace_operations() -> None:
    """Autograd finds every value as it was, so all exits' losses can be summed."""
    network = convert(InPlaceMethods(), EXAMPLE).train()
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_double_precision_is_kept() -> None:
    """A float64 backbone gets float64 classifiers."""
    backbone = Tiny().double()
    network = convert(backbone, EXAMPLE.double())
    exact(network, copy.deepcopy(backbone), 8, torch.float64)
    assert network(EXAMPLE.double()).dtype == torch.float64


def test_modes_and_gradients_are_left_alone() -> None:
    """Partly frozen, partly evaluating backbones come out as they went in."""
    backbone = Tiny().train()
    backbone.blocks[0].eval()
    backbone.stem.requires_grad_(requires_grad=False)
    before = [(m.training for m in backbone.modules()), (p.requires_grad for p in backbone.parameters())]
    expected = [list(values) for values in before]
    network = convert(backbone, EXAMPLE)
    assert [m.training for m in backbone.modules()] == expected[0]
    assert [p.requires_grad for p in backbone.parameters()] == expected[1]
    assert network.training
    assert all(module.training for module in network.internal_classifiers.modules())


def test_weights_loaded_after_conversion_take_effect() -> None:
    """Buffers that enter computations are read anew, so loading a state dict into the network works."""

    class Normalising(Tiny):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - self.mean.view(1, 3, 1, 1) * 2)

    backbone, other = Normalising(), Normalising()
    other.mean.fill_(5.0)
    network = convert(backbone, EXAMPLE)
    network.backbone.load_state_dict(other.state_dict())
    exact(network, other, 8)


def test_converting_twice_gives_the_same_exits() -> None:
    """A backbone can be converted again, and by the names of its cut points."""
    backbone = CreatesTensors()
    first = convert(backbone, EXAMPLE)
    again = convert(backbone, EXAMPLE, at=[exit_.cut for exit_ in first.exits[:-1]])
    assert [exit_.cut for exit_ in again.exits] == [exit_.cut for exit_ in first.exits]
    assert [exit_.macs for exit_ in again.exits] == [exit_.macs for exit_ in first.exits]


def test_costs_are_counted_by_hand() -> None:
    """Exits cost the convolutions up to them, plus the heads passed on the way.

    3x3 convolutions on 8x8: 3·4·9·64 = 6912 MACs, then three times 4·4·9·64 = 9216, then 4·5 = 20. Heads read 4x4
    bins of 4 channels: 64·5 = 320.
    """
    network = convert(Tiny(), EXAMPLE, fractions=(0.2, 0.5))
    total = 6912 + 3 * 9216 + 20
    assert network.backbone_macs == total
    assert [exit_.macs for exit_ in network.exits] == [6912 + 320, 6912 + 9216 + 640, total + 640]
    assert network.costs == tuple(macs / total for macs in (7232, 16768, total + 640))
    assert network.exits[0].depth == 6912 / total


def test_conv_heads_cost_what_they_do() -> None:
    """A conv head adds its convolution: 4·2·9·16 = 1152, and its linear layer on 2 channels of 4x4, 32·5 = 160."""
    network = convert(Tiny(), EXAMPLE, fractions=(0.2, 0.5), heads=("conv", "pooled"))
    assert [exit_.head for exit_ in network.exits[:-1]] == ["conv", "pooled"]
    assert network.exits[0].macs == 6912 + 1152 + 160
    exact(network, copy.deepcopy(network.backbone), 8)


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
        return self.head(torch.cat([x, y], dim=1).mean((2, 3)))


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
    assert "test_convert.py:" in message
    assert "UNet.forward reads it" in message
    assert "one submodule" in message


def test_no_cut_point_for_an_untraceable_trunk_names_it() -> None:
    """A network that is one untraceable module is refused with that module and the line that stopped tracing."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = Branching()
            self.trunk.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.trunk(x).mean((2, 3))

    message = message_of(Whole())
    assert "trunk is run whole, because it cannot be traced at " in message
    assert "test_convert.py:" in message


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


@pytest.mark.parametrize("wrap", [lambda y: (y, y), lambda y: {"logits": y}, lambda y: [y]])
def test_outputs_that_are_not_logits_are_refused(wrap: Any) -> None:  # noqa: ANN401 - a function of logits
    """Tuples, dictionaries and lists are told what to do."""

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
        convert(backbone, EXAMPLE, heads="deep")


def test_forward_that_depends_on_something_else_is_refused() -> None:
    """A network that is random in eval mode cannot be converted exactly, and is told so."""

    class Random(Tiny):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.rand_like(x))

    assert "depends on something besides its input" in message_of(Random())


def test_default_exits_adapt_to_short_networks() -> None:
    """A network with three places gets three of the paper's fractions."""
    network = convert(Tiny(), EXAMPLE)
    assert [exit_.fraction for exit_ in network.exits] == [0.30, 0.60, 0.90, 1.0]
