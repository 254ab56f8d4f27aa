"""The networks: sizes, shapes and what can be done with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shallowdeep.errors import ConfigurationError
from shallowdeep.models.registry import build, model_names
from shallowdeep.models.resnet import BasicBlock
from shallowdeep.models.wideresnet import WideBlock

SIZES = ((10, 32), (200, 64))

# (name, classes, image size, parameters, MACs): docs/methods.md, counted on the authors' code.
PAPER = [
    ("vgg16", 10, 32, 15_253_578, 313_725_952),
    ("vgg16", 200, 64, 21_222_664, 1_259_282_432),
    ("resnet56", 10, 32, 855_770, 125_747_840),
    ("resnet56", 200, 64, 868_120, 125_760_000),
    ("wideresnet32_4", 10, 32, 7_404_074, 1_185_335_808),
    ("wideresnet32_4", 200, 64, 7_452_904, 1_185_384_448),
    ("mobilenet", 10, 32, 3_217_226, 46_354_432),
    ("mobilenet", 200, 64, 3_411_976, 185_581_568),
]


def parameters_of(network: nn.Module) -> int:
    """Returns the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs_of(network: nn.Module, image_size: int) -> int:
    """Returns the multiply-adds of convolutions and linear layers for one image."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, image_size, image_size))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(("name", "classes", "size", "parameters", "macs"), PAPER)
def test_paper_network_has_the_authors_parameters_and_macs(
    name: str, classes: int, size: int, parameters: int, macs: int
) -> None:
    """Both counts agree with the authors' code to the last unit."""
    network = build(name, num_classes=classes, image_size=size)
    assert parameters_of(network) == parameters
    assert macs_of(network, size) == macs


@pytest.mark.parametrize(("classes", "size"), SIZES)
@pytest.mark.parametrize("name", model_names())
def test_trace_agrees_with_the_network_and_has_the_right_shape(name: str, classes: int, size: int) -> None:
    """Each network can be traced, and the graph computes the same logits (N, C)."""
    torch.manual_seed(0)
    network = build(name, num_classes=classes, image_size=size).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        logits = network(images)
        traced = torch.fx.symbolic_trace(network)(images)
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()
    assert torch.equal(logits, traced)


@pytest.mark.parametrize("name", model_names())
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    """In training mode one step reaches every parameter that asks for it."""
    torch.manual_seed(0)
    network = build(name, num_classes=3, image_size=32)
    assert network.training
    loss = nn.functional.cross_entropy(network(torch.randn(2, 3, 32, 32)), torch.tensor([0, 2]))
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, trainable)  # raises for a parameter the loss does not depend on
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", model_names())
def test_forward_leaves_its_input_as_it_is(name: str) -> None:
    """No operation writes into a tensor that an internal classifier may read."""
    images = torch.randn(2, 3, 32, 32)
    before = images.clone()
    network = build(name, num_classes=3, image_size=32)
    network(images)
    assert torch.equal(images, before)
    assert not any(getattr(module, "inplace", False) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("vgg16", 13), ("resnet56", 27), ("resnet20", 9), ("wideresnet32_4", 15), ("mobilenet", 13), ("fastnet", 3)],
)
def test_repeating_blocks_are_one_module_each(name: str, blocks: int) -> None:
    """The blocks that the paper counts are the children of one sequence."""
    network = build(name, num_classes=10, image_size=32)
    sequence = network.get_submodule("groups" if name == "fastnet" else "blocks")
    assert len(list(sequence.children())) == blocks


@pytest.mark.parametrize("name", ["vgg16", "fastnet"])
def test_too_small_images_are_refused(name: str) -> None:
    """A network whose strides leave no pixel says how many it needs."""
    with pytest.raises(ConfigurationError, match=r"Expected image_size >= \d+, got 8"):
        build(name, num_classes=10, image_size=8)


def test_vgg_pools_after_relu() -> None:
    """A pooled block is convolution, BatchNorm, ReLU, pooling."""
    block = build("vgg16", num_classes=10, image_size=32).get_submodule("blocks.1")
    assert [type(layer) for layer in block.children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]


def test_resnet_strides_in_the_first_convolution_and_wideresnet_in_the_second() -> None:
    """Where a block halves the map is the authors' choice."""
    basic, wide = BasicBlock(16, 32, 2), WideBlock(64, 128, 2)
    assert [m.stride for m in basic.residual if isinstance(m, nn.Conv2d)] == [(2, 2), (1, 1)]
    assert [m.stride for m in wide.residual if isinstance(m, nn.Conv2d)] == [(1, 1), (2, 2)]


def test_wideresnet_shortcut_takes_the_raw_input() -> None:
    """With a silent residual branch a wide block passes its input on unchanged, negative values included."""
    block = WideBlock(4, 4, 1).eval()
    for parameter in block.residual[-1].parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("size", [32, 64])
def test_stems_of_residual_networks_halve_large_images_only(size: int) -> None:
    """Both sizes reach the first block as 32x32 maps."""
    for name in ("resnet56", "wideresnet32_4"):
        stem = build(name, num_classes=10, image_size=size).get_submodule("stem")
        assert stem(torch.zeros(2, 3, size, size)).shape == (2, 16, 32, 32)
