"""Residual networks for small images: ResNet-20 and ResNet-56."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shallowdeep.models.image_size import LARGE_IMAGE, check_image_size
from shallowdeep.models.initialization import kaiming_normal

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, ReLU after their sum.

    Args:
        in_channels: C of the input.
        channels: C of the output.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, channels, H / stride, W / stride) from (N, in_channels, H, W), not negative."""
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """A residual network of three groups of 16, 32 and 64 channels.

    Args:
        blocks_per_group: 3 for ResNet-20, 9 for ResNet-56.
        num_classes: C.
        image_size: H = W of the images in pixels; from 64 on the stem has stride 2.

    Source: He et al., Deep Residual Learning, CVPR 2016, section 4.2; with 1x1 convolution and BatchNorm as shortcuts
    where the shape changes, as in the code of Kaya et al.
    """

    def __init__(self, blocks_per_group: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size, minimum=8)
        stem_stride = 2 if image_size >= LARGE_IMAGE else 1
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, stride=stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        in_channels = WIDTHS[0]
        for channels in WIDTHS:
            for index in range(blocks_per_group):
                stride = 2 if index == 0 and channels != WIDTHS[0] else 1
                blocks.append(BasicBlock(in_channels, channels, stride))
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


def resnet20(num_classes: int, image_size: int) -> ResNet:
    """Returns ResNet-20: 9 blocks, a small network for quick trials."""
    return ResNet(3, num_classes, image_size)


def resnet56(num_classes: int, image_size: int) -> ResNet:
    """Returns ResNet-56: 27 blocks, the paper's."""
    return ResNet(9, num_classes, image_size)
