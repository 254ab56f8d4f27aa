"""VGG-16 with BatchNorm for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shallowdeep.models.image_size import LARGE_IMAGE, check_image_size
from shallowdeep.models.initialization import kaiming_normal

LAYERS = (
    *((64, False), (64, True)),
    *((128, False), (128, True)),
    *((256, False), (256, False), (256, True)),
    *((512, False), (512, False), (512, True)),
    *((512, False), (512, False), (512, True)),
)
"""Channels of each convolution, and whether a 2x2 max pooling follows."""


class ConvBlock(nn.Sequential):
    """3x3 convolution, BatchNorm, ReLU, and where asked a 2x2 max pooling: (N, C, H, W) to (N, channels, H', W')."""

    def __init__(self, in_channels: int, channels: int, *, pool: bool) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            *([nn.MaxPool2d(2)] if pool else []),
        )


class VGG(nn.Module):
    """VGG-16 with BatchNorm: 13 convolution blocks and three linear layers.

    Args:
        num_classes: C.
        image_size: H = W of the images in pixels; hidden linear layers are 512 and 512 wide, from 64 pixels on 2048 and
            1024.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D; sizes and the missing ReLU before the last linear
    layer as in the code of Kaya et al.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size, minimum=32)
        blocks: list[nn.Module] = []
        in_channels, side = 3, image_size
        for channels, pool in LAYERS:
            blocks.append(ConvBlock(in_channels, channels, pool=pool))
            in_channels = channels
            side = side // 2 if pool else side
        hidden, last_hidden = (2048, 1024) if image_size >= LARGE_IMAGE else (512, 512)
        self.blocks = nn.Sequential(*blocks)
        self.hidden = nn.Sequential(nn.Linear(in_channels * side * side, hidden), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Sequential(
            nn.Linear(hidden, last_hidden), nn.Dropout(0.5), nn.Linear(last_hidden, num_classes)
        )
        kaiming_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, C), unnormalised, from normalised images (N, 3, H, W) of the size built for."""
        x = self.hidden(torch.flatten(self.blocks(images), 1))
        logits: Tensor = self.classifier(x)
        return logits


def vgg16(num_classes: int, image_size: int) -> VGG:
    """Returns VGG-16 with BatchNorm, the paper's."""
    return VGG(num_classes, image_size)
