"""How the networks' parameters start, from a random draw or from training images."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from shallowdeep.errors import ConfigurationError


@runtime_checkable
class DataInitialised(Protocol):
    """A module with parameters that are computed from training images before the first step.

    Any network may have this one method, and training calls it once through `initialize_from`. It is never called by
    the constructor nor by `forward`, so a network that is loaded from a file keeps what the file says.
    """

    def initialize_from(self, images: Tensor) -> None:
        """Sets the parameters that depend on the data.

        Args:
            images: (N, 3, H, W) floating, training images normalised as the network will see them, not augmented.
        """
        ...


def initialize_from(network: nn.Module, images: Tensor) -> int:
    """Lets every module of a network that wants to see the training images see them.

    Args:
        network: any network; modules that are not `DataInitialised` are left as they are.
        images: (N, 3, H, W) floating, normalised, not augmented; a few thousand are enough.

    Returns:
        How many modules took the images (0 for an ordinary network).

    Raises:
        ConfigurationError: images that are not a batch of at least one.
    """
    if images.dim() != 4 or len(images) == 0:  # noqa: PLR2004 - (N, C, H, W)
        raise ConfigurationError(f"Expected images of shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}")
    modules = [module for module in network.modules() if isinstance(module, DataInitialised)]
    for module in modules:
        module.initialize_from(images)
    return len(modules)


@torch.no_grad()
def kaiming_normal(network: nn.Module) -> None:
    """Draws a network's weights as is usual for networks of convolution, BatchNorm and ReLU.

    Convolutions: normal, variance 2 / fan-out, so that gradients keep their size through ReLU; grouped ones by fan-in,
    because PyTorch's fan-out does not know of groups and would start depthwise kernels near zero. Linear layers: normal
    with standard deviation 0.01. BatchNorm: the identity. Every bias: zero.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, section 2.2; linear layers as in the code of Kaya et al.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            mode: Literal["fan_in", "fan_out"] = "fan_out" if module.groups == 1 else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
