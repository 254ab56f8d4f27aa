"""Feature reductions: from a stage's output to the features an internal classifier's linear layer reads.

Each has two halves. ``summarise`` has no parameters, so that its output can be cached while only heads train;
``combine`` holds whatever is learned. Together they are the reduction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PAPER_SIDES = frozenset({1, 2, 4, 8, 16, 32})  # sides of the maps in the paper's networks
LARGEST_SHARE = 0.05  # of the backbone's parameters, for one head beyond the paper's sizes
LARGEST_DEEP_SIDE, SMALLEST_DEEP_SIDE = 32, 8  # pixels, where the convolutions of a deep head begin and end
LARGEST_DEEP_PARAMETERS, LARGEST_DEEP_COST = 0.10, 0.06  # of the backbone's, for the convolutions of one deep head


class FeatureReduction(Protocol):
    """What an internal classifier asks of a reduction.

    Attributes:
        features: F, the number of features that ``combine`` returns.
        cacheable: whether ``summarise`` makes something small enough to keep for every image.
    """

    features: int
    cacheable: bool

    def summarise(self, x: Tensor) -> Tensor:
        """The parameter-free half, (N, …) → (N, P, F) or the input itself."""

    def combine(self, summary: Tensor) -> Tensor:
        """The learned half, → (N, F)."""


def pooled_side(channels: int, height: int, width: int, classes: int, backbone_parameters: int) -> int:
    """Side of the pooled map: 4 on the paper's sizes; beyond them 4, 2 or 1, whichever keeps the head small.

    The paper's rule (kernel floor(H/4)) drops columns or leaves large heads on maps such as 14x14 and 7x7. There
    the largest side is taken whose linear layer has at most 5 % of the backbone's parameters.

    Source: Kaya et al. 2019, section 3.1, for square maps of side 1, 2, 4, 8, 16, 32.
    """
    if height == width and height in PAPER_SIDES:
        return 4
    for side in (4, 2):
        pixels = min(side, height) * min(side, width)
        if channels * pixels * classes <= LARGEST_SHARE * backbone_parameters:
            return side
    return 1


def window(length: int, bins: int) -> tuple[int, int, int]:
    """Return (kernel, stride, bins) of a pooling that covers ``length`` by equal windows, overlapping if need be."""
    bins = min(bins, length)
    stride = length // bins
    return length - (bins - 1) * stride, stride, bins


class PooledReduction(nn.Module):
    """``a·maxpool + (1-a)·avgpool`` of a map, with one learned ``a``, initialised in U[0, 1].

    Maps of at most ``side`` a side are flattened as they are. Fixed windows cover the whole map, so that any
    runtime can export them; where ``side`` divides the map they are the paper's.

    Args:
        channels: C.
        height: H.
        width: W.
        side: bins along each side.
        channels_last: the map comes as (N, H, W, C), else (N, C, H, W).

    Source: Kaya et al. 2019, section 3.1.
    """

    cacheable = True

    def __init__(self, channels: int, height: int, width: int, side: int, *, channels_last: bool = False) -> None:
        super().__init__()
        vertical, horizontal = window(height, side), window(width, side)
        self.kernel = (vertical[0], horizontal[0])
        self.stride = (vertical[1], horizontal[1])
        self.features = channels * vertical[2] * horizontal[2]
        self.channels_last = channels_last
        self.pools = self.kernel != (1, 1)
        self.mix = nn.Parameter(torch.rand(())) if self.pools else None

    def summarise(self, x: Tensor) -> Tensor:
        """Max- and average-pooled maps, (N, 2, F); (N, 1, F) where nothing is pooled."""
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        if not self.pools:
            return x.flatten(1).unsqueeze(1)
        largest = F.max_pool2d(x, self.kernel, self.stride)
        mean = F.avg_pool2d(x, self.kernel, self.stride)
        return torch.stack([largest.flatten(1), mean.flatten(1)], dim=1)

    def combine(self, summary: Tensor) -> Tensor:
        """The mixture, (N, F)."""
        if self.mix is None:
            return summary[:, 0]
        return self.mix * summary[:, 0] + (1 - self.mix) * summary[:, 1]


class ConvolvedReduction(nn.Module):
    """Convolutions, then a reduction of their map. It is no function of pooled maps, so it trains through the trunk.

    Attributes:
        convolutions: of the map, in turn.
        pooling: of what they give.
        shrink: side of the windows averaged before; 1 for none.
        channels_last: the map comes as (N, H, W, C), else (N, C, H, W).
        features: F that come out.
    """

    cacheable = False
    convolutions: nn.Sequential
    pooling: FeatureReduction
    shrink: int
    channels_last: bool
    features: int

    def summarise(self, x: Tensor) -> Tensor:
        """The map itself as (N, C, H, W)."""
        return x.permute(0, 3, 1, 2) if self.channels_last else x

    def combine(self, summary: Tensor) -> Tensor:
        """Convolved and pooled, (N, F)."""
        return self.pooling.combine(self.pooling.summarise(self.convolved(summary)))

    def convolved(self, summary: Tensor) -> Tensor:
        """The map after the convolutions, which is then pooled."""
        maps: Tensor = self.convolutions(summary if self.shrink == 1 else F.avg_pool2d(summary, self.shrink))
        return maps


class ConvReduction(ConvolvedReduction):
    """3x3 stride-2 convolutions, each with BatchNorm and ReLU, then a `PooledReduction`; a stronger, dearer head.

    Args:
        channels: C.
        height: H.
        width: W.
        side: bins along each side of the pooled map.
        widths: channels after each convolution, at least one.
        shrink: side of the windows averaged before, to begin with a smaller map; 1 for none.
        channels_last: the map comes as (N, H, W, C), else (N, C, H, W).
    """

    pooling: PooledReduction

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        side: int,
        widths: Sequence[int],
        *,
        shrink: int = 1,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.shrink = shrink
        height, width = height // shrink, width // shrink
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            height, width = (height + 1) // 2, (width + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.pooling = PooledReduction(widths[-1], height, width, side)
        self.features = self.pooling.features


def deep_convolutions(
    channels: int, height: int, width: int, backbone_parameters: int, backbone_macs: float
) -> tuple[int, tuple[int, ...]] | None:
    """Return how a deep head begins: the side of the windows averaged first, and the channels of its convolutions.

    Maps are averaged to at most 32 pixels a side; convolutions of stride 2 follow until the shorter side is at most 8,
    at least one. Each doubles the channels (on maps that are as small already it keeps them), or keeps, halves or
    quarters them: the most that leaves the convolutions with 10 % of the backbone's parameters and 6 % of its MACs.
    None where even a quarter is too many.

    Source: ours; early exits of residual networks have 16 or 32 channels, from which no linear layer makes classes.
    """
    shrink, sides = strided_sides(height, width)
    growths = (1.0, 0.5, 0.25) if min(sides[0]) <= SMALLEST_DEEP_SIDE else (2.0, 1.0, 0.5, 0.25)
    for growth in growths:
        widths = strided_widths(channels, len(sides) - 1, growth)
        weights = [9 * before * after for before, after in pairwise((channels, *widths))]
        macs = sum(count * side[0] * side[1] for count, side in zip(weights, sides[1:], strict=True))
        if sum(weights) <= LARGEST_DEEP_PARAMETERS * backbone_parameters and macs <= LARGEST_DEEP_COST * backbone_macs:
            return shrink, widths
    return None


def strided_sides(height: int, width: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the side of the windows to average first, and the map's (height, width) before and after convolutions.

    Maps are averaged to at most 32 pixels a side; convolutions of stride 2 follow until the shorter side is at most 8,
    at least one.
    """
    shrink = max(1, math.ceil(min(height, width) / LARGEST_DEEP_SIDE))
    sides = [(height // shrink, width // shrink)]
    while min(sides[-1]) > SMALLEST_DEEP_SIDE or len(sides) == 1:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return shrink, sides


def strided_widths(channels: int, count: int, growth: float) -> tuple[int, ...]:
    """Return the channels after each of ``count`` convolutions that each multiply them by ``growth``; at least 1."""
    return tuple(max(1, round(channels * growth**step)) for step in range(1, count + 1))


class TokenReduction(nn.Module):
    """LayerNorm of a token sequence (N, L, C), then its class token or the mean of its tokens.

    The norm has no scale and shift of its own: the linear layer behind it would absorb them.
    """

    cacheable = True

    def __init__(self, channels: int, *, class_token: bool) -> None:
        super().__init__()
        self.features = channels
        self.class_token = class_token

    def summarise(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 1, C).

        Args:
            x: (N, L, C).
            mask: (N, L) bool, which tokens count in the mean; None for all.
        """
        if self.class_token:
            x = x[:, :1]
        normed = F.layer_norm(x, (self.features,))
        if self.class_token or mask is None:
            return normed.mean(dim=1, keepdim=True)
        counted = mask.unsqueeze(-1).to(normed.dtype)
        return (normed * counted).sum(dim=1, keepdim=True) / counted.sum(dim=1, keepdim=True).clamp_min(1)

    def combine(self, summary: Tensor) -> Tensor:
        """(N, C)."""
        return summary[:, 0]


class VectorReduction(nn.Module):
    """Features (N, C) taken as they are."""

    cacheable = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = channels

    def summarise(self, x: Tensor) -> Tensor:
        """(N, 1, C)."""
        return x.unsqueeze(1)

    def combine(self, summary: Tensor) -> Tensor:
        """(N, C)."""
        return summary[:, 0]
