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

from shallowdeep.errors import ConfigurationError
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
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
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
    assert len(network.exits) == (5 if "densenet" in name else 7)  # a dense block holds one tensor at its end only
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
    """Internal classifiers stand where the authors' code has them; on MobileNet at the depths published.

    The blocks published beside those depths are 1, 3, 6, 8, 9, 11; the block that ends at 58.7 % is 7.
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
        output: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return output


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
        output: Tensor = self.head(x + torch.zeros(size[0], 4, device=x.device) + size.numel() / batch)
        return output


class Flattening(Tiny):
    """The classic ``x.view(x.size(0), -1)``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.blocks(self.stem(x))
        output: Tensor = self.head(x.view(x.size(0), -1))
        return output


class CreatesTensors(Tiny):
    """Uses one created tensor early and late."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        scale = torch.tensor([1.0, 2.0, 3.0])
        x = self.blocks(self.stem(x * scale.view(3, 1, 1)))
        output: Tensor = self.head(x.mean((2, 3)) * scale.sum())
        return output


class SharesBlock(Tiny):
    """Runs one block three times."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.stem(x)
        for _ in range(3):
            x = self.blocks[0](x)
        output: Tensor = self.head(x.mean((2, 3)))
        return output


class InPlaceMethods(Tiny):
    """Overwrites values in every way Python has."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.stem(x)
        x += 1
        for block in self.blocks:
            x = block(x)
            x.mul_(0.5)
            F.relu(x, inplace=True)
        output: Tensor = self.head(x.mean((2, 3)))
        return output


class Branching(nn.Module):
    """A block that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """One way for positive sums, one for others."""
        output: Tensor = self.conv(x) if x.sum() > 0 else self.conv(x).relu()
        return output


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


class Encoder(nn.Module):
    """PyTorch's own transformer, whose layers take a fused way in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, stride=2)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        assert x.shape[1] == 3, "expected colour"
        output: Tensor = self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))
        return output


USER_NETWORKS: dict[str, Any] = {
    "plain": Tiny,
    "shape integers cross stages": ShapesEarly,
    "view by batch size": Flattening,
    "created tensors": CreatesTensors,
    "shared weights": SharesBlock,
    "in-place operations": InPlaceMethods,
    "untraceable blocks": lambda: Tiny(conv_block(), Branching(), conv_block(), Branching()),
    "transformer encoder": Encoder,
    "several tensors between blocks": lambda: Tiny(conv_block(), ListResult(), Joining(), conv_block()),
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


def test_parametrised_weights() -> None:
    """Spectral norm, whose power iteration runs in train mode only, trains as before."""
    torch.manual_seed(1)
    backbone = Tiny(*(spectral_norm(nn.Conv2d(4, 4, 3, padding=1)) for _ in range(3)))
    back = copy.deepcopy(backbone)
    network = convert(backbone, EXAMPLE)
    exact(network, back, 8)
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
    assert network.costs.reached == tuple(macs / total for macs in (7232, 16768, total + 640))
    assert network.exits[0].depth == 6912 / total


def test_conv_heads_cost_what_they_do() -> None:
    """A conv head adds its convolution: 4·2·9·16 = 1152, and its linear layer on 2 channels of 4x4, 32·5 = 160."""
    network = convert(Tiny(), EXAMPLE, fractions=(0.2, 0.5), heads=("conv", "pooled"))
    assert [exit_.head for exit_ in network.exits[:-1]] == ["conv", "pooled"]
    assert network.exits[0].macs == 6912 + 1152 + 160
    exact(network, copy.deepcopy(network.backbone), 8)


def test_cascades_cost_what_they_do() -> None:
    """Each classifier but the first reads the five logits before it: 25 MACs more; a single one has nothing to read."""
    network = convert(Tiny(), EXAMPLE, fractions=(0.2, 0.5), cascaded=True)
    assert [exit_.cascaded for exit_ in network.exits] == [False, True, False]
    assert network.costs.cascaded
    assert [exit_.macs for exit_ in network.exits[:-1]] == [6912 + 320, 6912 + 9216 + 640 + 25]
    exact(network, copy.deepcopy(network.backbone), 8)
    with pytest.raises(ConfigurationError, match="Expected at least two internal classifiers to cascade, got one"):
        convert(Tiny(), EXAMPLE, fractions=(0.2,), cascaded=True)


def test_default_exits_adapt_to_short_networks() -> None:
    """A network with three places gets three of the paper's fractions."""
    network = convert(Tiny(), EXAMPLE)
    assert [exit_.fraction for exit_ in network.exits] == [0.30, 0.60, 0.90, 1.0]
