"""Folding normalisation into convolutions changes no output, and nothing where it cannot be done."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.folding import folded
from shallowdeep.sdn.network import ShallowDeepNetwork


def trained_statistics(module: nn.Module) -> None:
    """Give every normalisation statistics and weights of its own."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def test_a_folded_network_computes_the_same() -> None:
    """Every internal classifier's input, on ResNet-20; the network itself keeps its normalisations and its mode."""
    torch.manual_seed(0)
    network = convert(build("resnet20", num_classes=10, image_size=32), torch.zeros(1, 3, 32, 32))
    trained_statistics(network)
    images = torch.randn(3, 3, 32, 32)
    inference = folded(network.train(), images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in inference.backbone.modules())
    assert network.training
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.no_grad():
        for got, expected in zip(
            inference.internal_outputs(images), network.eval().internal_outputs(images), strict=True
        ):
            assert torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


class ReadTwice(nn.Module):
    """A convolution whose output is read besides by something else than its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.next, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """The normalised output plus the plain one."""
        y = self.conv(x)
        return self.head(self.next(self.norm(y) + y).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_an_output_that_something_else_reads_is_not_folded() -> None:
    """The copy keeps its normalisation, and computes the same."""
    torch.manual_seed(0)
    network: ShallowDeepNetwork = convert(ReadTwice(), torch.zeros(1, 3, 8, 8), fractions=(0.5,)).eval()
    trained_statistics(network)
    images = torch.randn(2, 3, 8, 8)
    inference = folded(network, images)
    assert any(isinstance(module, nn.BatchNorm2d) for module in inference.modules())
    with torch.no_grad():
        assert torch.equal(inference(images), network(images))
