"""What internal classifiers read, against the paper's formula and slow loops."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from shallowdeep.sdn.feature_reduction import (
    ConvReduction,
    PooledReduction,
    TokenReduction,
    VectorReduction,
    deep_convolutions,
    pooled_side,
)


def papers(x: Tensor, mix: float) -> Tensor:
    """The paper's reduction of a square map: kernel floor(H/4), a·max + (1-a)·mean; small maps as they are."""
    kernel = x.shape[-1] // 4
    if kernel < 2:
        return x.flatten(1)
    return (mix * F.max_pool2d(x, kernel) + (1 - mix) * F.avg_pool2d(x, kernel)).flatten(1)


@pytest.mark.parametrize("side", [32, 16, 8, 4, 2, 1])
def test_papers_formula(side: int) -> None:
    """On the paper's sizes the reduction is the paper's."""
    x = torch.randn(2, 3, side, side)
    reduction = PooledReduction(3, side, side, pooled_side(3, side, side, 10, 0))
    mix = 0.0 if reduction.mix is None else reduction.mix.item()
    features = reduction.combine(reduction.summarise(x))
    torch.testing.assert_close(features, papers(x, mix))
    assert features.shape == (2, reduction.features)
    assert (reduction.mix is None) == (side <= 4)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 4]))
def test_windows_cover_the_whole_map(height: int, width: int, side: int) -> None:
    """Every pixel of a map of any size moves some feature, and no more than side x side bins come out."""
    reduction = PooledReduction(1, height, width, side)
    x = torch.ones(1, 1, height, width, requires_grad=True)
    summary = reduction.summarise(x)
    summary[:, -1].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert x.grad is not None
    assert bool((x.grad > 0).all())
    assert reduction.features == summary.shape[-1] == min(side, height) * min(side, width)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (14, 14), (9, 5)])
def test_windows_against_a_loop(height: int, width: int) -> None:
    """On 7x7, 14x14 and 9x5 each bin is the maximum and mean of its window, windows of one size."""
    x = torch.randn(1, 2, height, width)
    reduction = PooledReduction(2, height, width, 4)
    largest, mean = reduction.summarise(x)[0].view(2, 2, 4, 4)
    for i in range(4):
        for j in range(4):
            top, left = i * (height // 4), j * (width // 4)
            rows, columns = height - 3 * (height // 4), width - 3 * (width // 4)
            window = x[0, :, top : top + rows, left : left + columns]
            torch.testing.assert_close(largest[:, i, j], window.amax((1, 2)))
            torch.testing.assert_close(mean[:, i, j], window.mean((1, 2)))
    assert (top + rows, left + columns) == (height, width)


@pytest.mark.parametrize(
    ("channels", "side", "parameters", "expected"),
    [
        (64, 8, 0, 4),  # a size of the paper's: its rule, whatever the head weighs
        (64, 14, 64 * 16 * 10 * 20, 4),  # exactly 5 %
        (64, 14, 64 * 16 * 10 * 20 - 1, 2),
        (64, 14, 64 * 4 * 10 * 20 - 1, 1),
        (64, 3, 64 * 9 * 10 * 20, 4),  # 3x3 stays whole: 9 pixels
        (64, 3, 64 * 9 * 10 * 20 - 1, 2),
    ],
)
def test_head_size_rule(channels: int, side: int, parameters: int, expected: int) -> None:
    """Beyond the paper's sizes the finest of 4, 2, 1 is taken whose head has at most 5 % of the parameters."""
    assert pooled_side(channels, side, side, 10, parameters) == expected


def test_maps_that_are_not_square_follow_the_size_rule() -> None:
    """8x16 is none of the paper's sizes."""
    assert pooled_side(64, 8, 16, 10, 0) == 1


@pytest.mark.parametrize("kind", [PooledReduction, partial(ConvReduction, widths=(3,))])
def test_channels_last_maps_are_permuted(kind: Any) -> None:  # noqa: ANN401 - a class or a partial of one
    """An (N, H, W, C) map gives what the permuted (N, C, H, W) map gives."""
    x = torch.randn(2, 14, 7, 6)
    last, first = kind(6, 14, 7, 4, channels_last=True).eval(), kind(6, 14, 7, 4).eval()
    first.load_state_dict(last.state_dict())
    expected = first.combine(first.summarise(x.permute(0, 3, 1, 2)))
    assert torch.equal(last.combine(last.summarise(x)), expected)


def test_conv_reduction_by_hand() -> None:
    """Averaged windows, two 3x3 stride-2 convolutions, each with norm and ReLU, then pooling of what is left."""
    reduction = ConvReduction(6, 37, 37, 4, (8, 3), shrink=2).eval()
    x = torch.randn(2, 6, 37, 37)
    maps = F.avg_pool2d(x, 2)
    for place in (0, 3):
        weight = reduction.convolutions.get_parameter(f"{place}.weight")
        maps = F.relu(F.conv2d(maps, weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5)
    expected = reduction.pooling.combine(reduction.pooling.summarise(maps))
    torch.testing.assert_close(reduction.combine(reduction.summarise(x)), expected)
    assert reduction.features == 3 * 16
    assert not reduction.cacheable


@pytest.mark.parametrize("class_token", [False, True])
def test_tokens(class_token: bool) -> None:
    """Normalised class token, or mean of normalised tokens."""
    x = torch.randn(2, 5, 8)
    reduction = TokenReduction(8, class_token=class_token)
    normalised = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = normalised[:, 0] if class_token else normalised.mean(1)
    torch.testing.assert_close(reduction.combine(reduction.summarise(x)), expected)


def test_vectors_are_taken_as_they_are() -> None:
    """(N, C) in, (N, C) out."""
    x = torch.randn(2, 5)
    reduction = VectorReduction(5)
    assert torch.equal(reduction.combine(reduction.summarise(x)), x)


@pytest.mark.parametrize(
    ("shape", "parameters", "macs", "expected"),
    [
        ((16, 32, 32), 10**6, 1e9, (1, (32, 64))),  # ResNet-56's first exits
        ((32, 16, 16), 10**6, 1e9, (1, (64,))),
        ((64, 8, 8), 10**6, 1e9, (1, (64,))),  # small already: channels are kept
        ((64, 56, 56), 10**7, 1e9, (2, (128, 256))),  # averaged to 28 first
        ((64, 8, 8), 300_000, 1e9, (1, (32,))),  # 36,864 weights are more than a tenth of them
        ((16, 32, 32), 10**6, 39e6, (1, (16, 16))),  # 2.36 M MACs are more than 6 % of them, .74 M are not
        ((512, 1, 9), 10, 1.0, None),  # nothing fits
    ],
)
def test_deep_convolutions_fit_the_backbone(
    shape: tuple[int, int, int], parameters: int, macs: float, expected: tuple[int, tuple[int, ...]] | None
) -> None:
    """Down to 8 pixels by halves, with as many channels as a tenth of the parameters and 6 % of the MACs allow."""
    assert deep_convolutions(*shape, parameters, macs) == expected
