"""A network that reaches a good accuracy on small images within minutes on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.errors import ConfigurationError
from shallowdeep.models.image_size import check_image_size

WHITENING_KERNEL = 2
WHITENING_EPSILON = 5e-4
"""Added to the patches' variances, so that directions without signal are not blown up."""

WIDTHS = (64, 256, 256)
LOGIT_SCALE = 1 / 9
BATCHNORM_MOMENTUM = 0.4
"""Weight of the newest batch in the running statistics: large, because a training is only a few hundred steps."""

IMAGES_AT_ONCE = 500


class ConvGroup(nn.Module):
    """Convolution, 2x2 max pooling, BatchNorm, GELU, convolution, BatchNorm, GELU.

    BatchNorm's scales stay at one; only its offsets are trained.

    Args:
        in_channels: C of the input.
        channels: C of the output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(channels, momentum=BATCHNORM_MOMENTUM)
        self.activation1 = nn.GELU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels, momentum=BATCHNORM_MOMENTUM)
        self.activation2 = nn.GELU()
        for conv in (self.conv1, self.conv2):
            # The first filters pass their input on: a residual connection that costs nothing.
            with torch.no_grad():
                nn.init.dirac_(conv.weight[: conv.in_channels])
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, channels, H // 2, W // 2) from (N, in_channels, H, W)."""
        x = self.activation1(self.norm1(self.pool(self.conv1(x))))
        out: Tensor = self.activation2(self.norm2(self.conv2(x)))
        return out


class FastNet(nn.Module):
    """A whitening convolution, three groups of two convolutions, and one linear layer.

    The whitening filters are not trained; `initialize_from` computes them from training images. Without it they stay
    random, and the network learns more slowly.

    Args:
        num_classes: C.
        image_size: H = W of the images in pixels.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498. Where we differ: BatchNorm's
    epsilon is PyTorch's 1e-5, not 1e-12, which float16 rounds to zero; the last pooling takes the whole map at
    any image size.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size, minimum=9)
        filters = 2 * 3 * WHITENING_KERNEL**2
        self.whitening = nn.Conv2d(3, filters, WHITENING_KERNEL)
        self.whitening.weight.requires_grad = False
        self.activation = nn.GELU()
        groups = [ConvGroup(i, o) for i, o in zip((filters, *WIDTHS[:-1]), WIDTHS, strict=True)]
        self.groups = nn.Sequential(*groups)
        # A kernel as large as the last map is adaptive pooling to 1x1, in an operation that every exporter knows.
        self.pool = nn.MaxPool2d((image_size - WHITENING_KERNEL + 1) // 2 ** len(WIDTHS))
        self.classifier = nn.Linear(WIDTHS[-1], num_classes, bias=False)
        if self.whitening.bias is not None:
            nn.init.zeros_(self.whitening.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, C), unnormalised, from normalised images (N, 3, H, W) of the size built for."""
        x = self.groups(self.activation(self.whitening(images)))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1)) * LOGIT_SCALE
        return logits

    @torch.no_grad()
    def initialize_from(self, images: Tensor) -> None:
        """Sets the whitening filters: see `whitening_filters`. 5,000 images are plenty.

        Args:
            images: (N, 3, H, W) floating, training images normalised as the network will see them, not augmented.

        Raises:
            ConfigurationError: images of another shape, or with values that are not finite.
        """
        filters = whitening_filters(images)
        self.whitening.weight.copy_(torch.cat((filters, -filters)))


def whitening_filters(images: Tensor) -> Tensor:
    """Returns filters whose responses to the images' patches are uncorrelated and of equal power.

    With `S = mean(p p^T)` over all patches p and `S = V diag(v) V^T`, the filters are the rows of
    `diag(v + eps)^(-1/2) V^T`, largest v first. The mean is not subtracted: the convolution's bias, which is trained,
    can do so.

    Args:
        images: (N, 3, H, W) floating, H and W at least 2.

    Returns:
        (12, 3, 2, 2) float32.

    Raises:
        ConfigurationError: images of another shape, or with values that are not finite.

    Source: arXiv 2404.00498, section 3.1.
    """
    k = WHITENING_KERNEL
    if images.dim() != 4 or images.shape[1] != 3 or min(images.shape) < 1 or min(images.shape[2:]) < k:  # noqa: PLR2004 - (N, 3, H, W)
        raise ConfigurationError(f"Expected images of shape (N, 3, H, W), got {tuple(images.shape)}")
    size = images.shape[1] * k * k
    total = torch.zeros(size, size, dtype=torch.float64, device=images.device)
    count = 0
    for chunk in torch.split(images, IMAGES_AT_ONCE):
        patches = F.unfold(chunk.float(), k).transpose(1, 2).reshape(-1, size)  # (N * places, 3 * k * k)
        total += (patches.T @ patches).double()
        count += len(patches)
    if not bool(torch.isfinite(total).all()):
        raise ConfigurationError("Expected finite images, got infinite or missing values")
    variances, directions = torch.linalg.eigh(total / count)  # ascending; directions are columns
    filters: Tensor = (directions / (variances.clamp(min=0) + WHITENING_EPSILON).sqrt()).T.flip(0)
    return filters.float().reshape(size, images.shape[1], k, k)


def fastnet(num_classes: int, image_size: int) -> FastNet:
    """Returns the network of the fast CIFAR-10 recipe."""
    return FastNet(num_classes, image_size)
