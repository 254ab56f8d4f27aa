"""Feature reductions of few operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from shallowdeep.sdn.strided_reduction import MeanReduction, StridedReduction


def test_means_of_windows() -> None:
    """Of a 4x4 map with two windows a side, the four means of 2x2 pixels."""
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    reduction = MeanReduction(1, 4, 4, 2)
    assert reduction.combine(reduction.summarise(x)).tolist() == [[2.5, 4.5, 10.5, 12.5]]


def test_a_small_map_is_flattened() -> None:
    """Where there are no more pixels than windows nothing is averaged."""
    x = torch.randn(2, 3, 2, 2)
    reduction = MeanReduction(3, 2, 2, 4)
    assert torch.equal(reduction.combine(reduction.summarise(x)), x.flatten(1))


@pytest.mark.parametrize(("stride", "kernel", "shrink"), [(2, 3, 1), (4, 4, 1), (2, 3, 2)])
def test_convolutions_then_means(stride: int, kernel: int, shrink: int) -> None:
    """Equal to the same layers one by one; windows above 2 pixels do not overlap."""
    torch.manual_seed(0)
    reduction = StridedReduction(3, 16, 16, 2, (5,), stride=stride, shrink=shrink).eval()
    x = torch.randn(2, 3, 16, 16)
    weight = reduction.convolutions.get_parameter("0.weight")
    assert weight.shape == (5, 3, kernel, kernel)
    maps = F.conv2d(F.avg_pool2d(x, shrink), weight, stride=stride, padding=1 if stride == 2 else 0)
    expected = F.adaptive_avg_pool2d(F.relu(maps / (1 + 1e-5) ** 0.5), 2).flatten(1)
    torch.testing.assert_close(reduction.combine(reduction.summarise(x)), expected)
