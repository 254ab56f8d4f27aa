"""MobileNet (the first version) for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shallowdeep.models.image_size import check_image_size
from shallowdeep.models.initialization import kaiming_normal

STEM_CHANNELS = 32
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
"""Channels and stride of each block."""


class SeparableBlock(nn.Sequential):
    """3x3 depthwise then 1x1 convolution, each with BatchNorm and ReLU: (N, C, H, W) to (N, channels, H', W')."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )


class MobileNet(nn.Module):
    """A stem of stride 1 and 13 depthwise separable blocks, four of them with stride 2.

    Args:
        num_classes: C.
        image_size: H = W of the images in pixels.

    Source: Howard et al., MobileNets, arXiv 1704.04861, with fewer strides for small images, as in the code of Kaya et
    al.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size, minimum=8)
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(STEM_CHANNELS), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        in_channels = STEM_CHANNELS
        for channels, stride in BLOCKS:
            blocks.append(SeparableBlock(in_channels, channels, stride))
            in_channels = channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)
        kaiming_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, C), unnormalised, from normalised images (N, 3, H, W)."""
        x = self.blocks(self.stem(images))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


def mobilenet(num_classes: int, image_size: int) -> MobileNet:
    """Returns MobileNet, the paper's."""
    return MobileNet(num_classes, image_size)
