"""The wide residual network the paper calls WideResNet-32-4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shallowdeep.models.image_size import LARGE_IMAGE, check_image_size
from shallowdeep.models.initialization import kaiming_normal

STEM_CHANNELS = 16
WIDTHS = (64, 128, 256)
BLOCKS_PER_GROUP = 5
DROPOUT = 0.3


class WideBlock(nn.Module):
    """BatchNorm, ReLU and convolution, twice, beside a shortcut that takes the raw input.

    Args:
        in_channels: C of the input.
        channels: C of the output.
        stride: of the second convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.Dropout(DROPOUT),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, channels, H / stride, W / stride) from (N, in_channels, H, W), of either sign."""
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


class WideResNet(nn.Module):
    """Three groups of five wide blocks of 64, 128 and 256 channels.

    Args:
        num_classes: C.
        image_size: H = W of the images in pixels; from 64 on the stem has stride 2.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, as in the code of Kaya et al.: five blocks a
    group (the 32 of the name is 6n + 2), biased convolutions, stride in a block's second convolution.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size, minimum=8)
        stem_stride = 2 if image_size >= LARGE_IMAGE else 1
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 3, stride=stem_stride, padding=1)
        blocks: list[nn.Module] = []
        in_channels = STEM_CHANNELS
        for channels in WIDTHS:
            for index in range(BLOCKS_PER_GROUP):
                stride = 2 if index == 0 and channels != WIDTHS[0] else 1
                blocks.append(WideBlock(in_channels, channels, stride))
                in_channels = channels
        self.blocks = nn.Sequential(*blocks)
        self.activation = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)
        kaiming_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, C), unnormalised, from normalised images (N, 3, H, W)."""
        x = self.activation(self.blocks(self.stem(images)))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


def wideresnet32_4(num_classes: int, image_size: int) -> WideResNet:
    """Returns WideResNet-32-4, the paper's."""
    return WideResNet(num_classes, image_size)
