"""Multiply-adds (MACs) of what runs, counted once each, in execution order.

Convolutions, linear layers, matrix products and attention count; everything else is 0. PyTorch's own
``FlopCounterMode`` does the counting, so that functional calls and wrapped functions are seen as well as
modules; two of its FLOPs are one MAC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from shallowdeep.runtime import evaluating


class MacCounter:
    """Running total of the MACs executed since the counter was opened."""

    def __init__(self, mode: FlopCounterMode) -> None:
        self._mode = mode

    @property
    def total(self) -> int:
        """MACs so far, over the whole batch."""
        return self._mode.get_total_flops() // 2


@contextmanager
def counting_macs() -> Iterator[MacCounter]:
    """Open a `MacCounter` over everything that runs inside the block.

    Attention's fused inference path is switched off meanwhile: it is one opaque operation, and would count 0.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as mode:
            yield MacCounter(mode)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def count_macs(function: Callable[..., Any], *inputs: Tensor) -> int:
    """MACs of one call ``function(*inputs)``, per sample of the batch in ``inputs[0]``.

    A module is run in eval mode and left as it was. Dimension 0 of ``inputs[0]`` is the batch.
    """
    samples = inputs[0].shape[0]
    with torch.no_grad(), counting_macs() as counter:
        if isinstance(function, nn.Module):
            with evaluating(function):
                function(*inputs)
        else:
            function(*inputs)
    return counter.total // samples
