"""Feature reductions of few operations, which low precision runs fast: convolutions of large stride, then a mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.sdn.feature_reduction import ConvolvedReduction, window


class MeanReduction(nn.Module):
    """The mean of a map over equal windows, flattened.

    Args:
        channels: C.
        height: H.
        width: W.
        side: windows along each side, fewer on smaller maps.
        channels_last: the map comes as (N, H, W, C), else (N, C, H, W).
    """

    cacheable = True

    def __init__(self, channels: int, height: int, width: int, side: int, *, channels_last: bool = False) -> None:
        super().__init__()
        vertical, horizontal = window(height, side), window(width, side)
        self.kernel = (vertical[0], horizontal[0])
        self.stride = (vertical[1], horizontal[1])
        self.features = channels * vertical[2] * horizontal[2]
        self.channels_last = channels_last

    def summarise(self, x: Tensor) -> Tensor:
        """Means of the windows, (N, 1, F)."""
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        pooled = x if self.kernel == (1, 1) else F.avg_pool2d(x, self.kernel, self.stride)
        return pooled.flatten(1).unsqueeze(1)

    def combine(self, summary: Tensor) -> Tensor:
        """The means, (N, F)."""
        return summary[:, 0]


class StridedReduction(ConvolvedReduction):
    """Convolutions with a stride, each with BatchNorm and ReLU, then means over windows.

    Next to `shallowdeep.sdn.feature_reduction.ConvReduction` it has four operations less, since it mixes no maxima in.

    Args:
        channels: C.
        height: H.
        width: W.
        side: windows along each side of the last map.
        widths: channels after each convolution, at least one.
        stride: of each; windows that do not overlap where it is above 2, else 3x3 ones.
        shrink: side of the windows averaged before, to begin with a smaller map; 1 for none.
        channels_last: the map comes as (N, H, W, C), else (N, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        side: int,
        widths: Sequence[int],
        *,
        stride: int = 2,
        shrink: int = 1,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.shrink = shrink
        height, width = height // shrink, width // shrink
        kernel, padding = (3, 1) if stride <= 2 else (stride, 0)  # noqa: PLR2004 - see ``stride``
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
            height, width = ((length + 2 * padding - kernel) // stride + 1 for length in (height, width))
        self.convolutions = nn.Sequential(*layers)
        self.pooling = MeanReduction(widths[-1], height, width, side)
        self.features = self.pooling.features
