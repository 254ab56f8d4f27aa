"""Where the parameters start."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.errors import ConfigurationError
from shallowdeep.models.initialization import DataInitialised, initialize_from, kaiming_normal


class Centred(nn.Module):
    """Subtracts the training images' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(3))

    def initialize_from(self, images: Tensor) -> None:
        """Takes the mean of each channel."""
        self.mean.copy_(images.mean((0, 2, 3)))


def test_every_module_that_wants_the_images_sees_them() -> None:
    """Nested modules are found and others left alone."""
    network = nn.Sequential(Centred(), nn.Sequential(nn.ReLU(), Centred()))
    assert initialize_from(network, torch.full((2, 3, 4, 4), 5.0)) == 2
    assert network.get_submodule("1.1").get_buffer("mean").tolist() == [5.0, 5.0, 5.0]
    assert isinstance(network[0], DataInitialised)


def test_an_ordinary_network_takes_no_images() -> None:
    """Nothing happens to a network without the method."""
    assert initialize_from(nn.ReLU(), torch.zeros(1, 3, 4, 4)) == 0


@pytest.mark.parametrize("shape", [(3, 4, 4), (0, 3, 4, 4)])
def test_something_else_than_a_batch_is_refused(shape: tuple[int, ...]) -> None:
    """One image without a batch dimension, or none, is a mistake."""
    with pytest.raises(ConfigurationError, match=r"Expected images of shape \(N, C, H, W\)"):
        initialize_from(Centred(), torch.zeros(shape))


def test_kaiming_normal_draws_the_textbook_spreads() -> None:
    """Variance 2 / fan-out, by fan-in for depthwise kernels; biases zero."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(512, 512, 3, groups=512), nn.Linear(100, 100))
    kaiming_normal(network)
    spreads = [float(layer.get_parameter("weight").detach().std()) for layer in network]
    assert spreads == pytest.approx([(2 / (64 * 9)) ** 0.5, (2 / 9) ** 0.5, 0.01], rel=0.05)
    assert all(float(layer.get_parameter("bias").detach().abs().max()) == 0 for layer in network)
