"""Multiply-adds against counts derived by hand."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.cost import count_macs, counting_macs


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10), 3 * 8 * 9 * 100),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 10, 10), 3 * 8 * 9 * 25),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 10, 10), 8 * 9 * 100),
        (nn.Conv2d(8, 4, 1, groups=2), (8, 5, 7), 4 * 4 * 35),
        (nn.ConvTranspose2d(3, 4, 3), (3, 5, 5), 3 * 4 * 9 * 25),
        (nn.Linear(7, 5), (7,), 35),
        (nn.Linear(7, 5), (4, 7), 4 * 35),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), (3, 4, 4), 0),
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_modules(module: nn.Module, shape: tuple[int, ...], macs: int, samples: int) -> None:
    """A module's count is per sample, whatever the batch; norms, activations and pools cost nothing."""
    assert count_macs(module, torch.zeros(samples, *shape)) == macs


def test_matrix_products() -> None:
    """(2, 3, 4) @ (2, 4, 5) is 3·4·5 multiply-adds for each of two samples."""
    assert count_macs(torch.matmul, torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)) == 60


def test_attention_function() -> None:
    """Three heads, five tokens, width 4: scores and mixture are 3·5·5·4 each."""

    def attend(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x)

    assert count_macs(attend, torch.zeros(2, 3, 5, 4)) == 2 * 3 * 5 * 5 * 4


@pytest.mark.parametrize("training", [False, True])
def test_attention_module_counts_on_its_fused_path_too(training: bool) -> None:
    """Projections 5·8·24 + 5·8·8, scores and mixture 2·(5·5·8): in eval mode, too, where a fused path hides them."""
    module = nn.MultiheadAttention(8, 2, batch_first=True).train(training)

    def attend(x: Tensor) -> Tensor:
        return cast("Tensor", module(x, x, x)[0])

    assert count_macs(attend, torch.zeros(2, 5, 8)) == 960 + 320 + 400


def test_encoder_layer_counts_on_its_fused_path_too() -> None:
    """Attention as above, and a feed-forward part of 2·5·8·16."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert count_macs(layer, torch.zeros(2, 5, 8)) == 1680 + 1280


def test_counting_leaves_modes_and_fused_path_alone() -> None:
    """A module is counted in eval mode and left as it was, by failure too."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    module[1].eval()
    enabled = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError):
        count_macs(module, torch.zeros(1, 4))
    assert [m.training for m in module.modules()] == [True, True, False]
    assert torch.backends.mha.get_fastpath_enabled() is enabled


def test_counter_runs_on() -> None:
    """The total can be read while the block runs, over the whole batch."""
    layer = nn.Linear(2, 3)
    with counting_macs() as counter:
        assert counter.total == 0
        layer(torch.zeros(4, 2))
        assert counter.total == 24
        layer(torch.zeros(1, 2))
        assert counter.total == 30
