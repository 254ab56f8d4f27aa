"""Internal classifiers: a feature reduction and one linear layer on a stage's output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.errors import ConfigurationError
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.feature_reduction import (
    ConvReduction,
    FeatureReduction,
    PooledReduction,
    TokenReduction,
    VectorReduction,
    deep_convolutions,
    pooled_side,
    strided_sides,
    strided_widths,
)
from shallowdeep.sdn.layout import MAP, MAP_LAST, TOKENS
from shallowdeep.sdn.strided_reduction import MeanReduction, StridedReduction

POOLED, CONV, DEEP = HEADS = ("pooled", "conv", "deep")
FAST_HEADS = ("strided-2", "late-4", "strided-1", "patch-2", "strided-0.5", "mean")
"""Heads of few operations, from strong to cheap: how the channels grow stands behind the dash."""

_LATE, _PATCH, _MEAN = "late", "patch", "mean"
_DEEP_SIDE = 2  # of the pooled map behind the convolutions of a deep head
_LARGEST_SHARE = 0.10  # of the backbone's parameters, for the convolutions of one fast head


class InternalClassifier(nn.Module):
    """Logits (N, C) from a stage's output and, where it is cascaded, from the internal classifier before it.

    Args:
        reduction: a module that is a `FeatureReduction`.
        classes: C.
        kind: which of `HEADS` or `FAST_HEADS` it is; token sequences and vectors have the pooled kind only.
        cascaded: read the layer-normalised logits of the internal classifier before it too; no gradient flows back
            into them.

    Source: Wolczyk et al., "Zero Time Waste", NeurIPS 2021, section 3.1 (cascade connections).
    """

    def __init__(self, reduction: nn.Module, classes: int, kind: str = POOLED, *, cascaded: bool = False) -> None:
        super().__init__()
        self.reduction = reduction
        self.kind = kind
        self.linear = nn.Linear(self._reduction.features, classes)
        self.cascade = nn.Linear(classes, classes, bias=False) if cascaded else None

    @property
    def _reduction(self) -> FeatureReduction:
        return cast("FeatureReduction", self.reduction)

    @property
    def cacheable(self) -> bool:
        """Whether `summarise` makes something small enough to keep for every image."""
        return self._reduction.cacheable

    @property
    def reads_mask(self) -> bool:
        """Whether it takes the mean of tokens, of which those that are padding do not count."""
        return isinstance(self.reduction, TokenReduction) and not self.reduction.class_token

    def summarise(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The parameter-free part of the classifier, to be cached.

        Args:
            x: the stage's output.
            mask: (N, L) bool, which tokens are no padding; None where all count.
        """
        if mask is not None and isinstance(self.reduction, TokenReduction):
            return self.reduction.summarise(x, mask)
        return self._reduction.summarise(x)

    def classify(self, summary: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits (N, C) from what `summarise` returned."""
        logits: Tensor = self.linear(self._reduction.combine(summary))
        if self.cascade is None:
            return logits
        if previous is None:
            raise ValueError("Expected the logits of the exit before for a cascaded internal classifier, got none")
        share: Tensor = self.cascade(F.layer_norm(previous.detach(), previous.shape[-1:]))
        return logits + share

    def forward(self, x: Tensor, previous: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits (N, C).

        Args:
            x: the stage's output.
            previous: (N, C) logits of the internal classifier before, which cascaded ones read.
            mask: see `summarise`.

        Raises:
            ValueError: it is cascaded and there are none.
        """
        return self.classify(self.summarise(x, mask), previous)


def attach(
    cut: CutPoint,
    classes: int,
    backbone_parameters: int,
    head: str = POOLED,
    *,
    backbone_macs: float = math.inf,
    cascaded: bool = False,
) -> InternalClassifier:
    """The internal classifier for a cut point.

    Args:
        cut: where it stands; its layout decides how the tensor is read.
        classes: C.
        backbone_parameters: bounds the head's size beyond the paper's map sizes, and that of a deep head.
        head: ``pooled`` (the paper's on maps); ``conv``, one convolution to C/2 channels before pooling; ``deep``,
            convolutions down to 8 pixels a side (see `deep_convolutions`); or one of `FAST_HEADS`, for maps:
            ``strided-G``, 3x3 convolutions of stride 2 down to 8 pixels a side that each multiply the channels by G;
            ``late-G``, the same, but the last alone does, and the others keep the channels; ``patch-G``, one
            convolution of 8x8 windows in all that do not overlap; ``mean``, the means of 4x4 windows alone.
            Convolutions are for maps; those of a single pixel get the pooled kind (``mean`` of fast heads), and so do
            those that deep heads would be too large for.
        backbone_macs: bounds what a deep head costs.
        cascaded: read the logits of the internal classifier before it too.

    Raises:
        ConfigurationError: ``head`` is none of `HEADS` and `FAST_HEADS`, or needs a map where there is none.
    """
    if head not in (*HEADS, *FAST_HEADS):
        raise ConfigurationError(f"Expected a head among {', '.join((*HEADS, *FAST_HEADS))}, got {head!r}")
    axes = cut.layout.axes
    if axes in (MAP, MAP_LAST):
        size = dict(zip(axes, cut.shape, strict=True))
        single = _MEAN if head in FAST_HEADS else POOLED
        kind = head if min(size["H"], size["W"]) > 1 else single
        bounds = (backbone_parameters, backbone_macs)
        kind, reduction = _map_reduction(kind, size, classes, bounds, channels_last=axes == MAP_LAST)
        return InternalClassifier(reduction, classes, kind, cascaded=cascaded)
    what = "token sequences" if axes == TOKENS else "vectors"
    if head != POOLED:
        raise ConfigurationError(f"Expected maps for {head} heads, got {what} at {cut.module}")
    channels = cut.shape[-1]
    if axes == TOKENS:
        return InternalClassifier(
            TokenReduction(channels, class_token=cut.layout.class_token), classes, cascaded=cascaded
        )
    return InternalClassifier(VectorReduction(channels), classes, cascaded=cascaded)


def _map_reduction(
    kind: str, size: Mapping[str, int], classes: int, bounds: tuple[int, float], *, channels_last: bool
) -> tuple[str, nn.Module]:
    """Kind and reduction of a map of ``size`` C, H, W, on a backbone with ``bounds`` parameters and MACs."""
    channels, height, width = size["C"], size["H"], size["W"]
    side = pooled_side(channels, height, width, classes, bounds[0])
    if kind in FAST_HEADS:
        return _fast_reduction(kind, (channels, height, width), side, channels_last=channels_last)
    if kind == CONV:
        narrow = max(1, channels // 2)
        return CONV, ConvReduction(channels, height, width, side, (narrow,), channels_last=channels_last)
    deep = deep_convolutions(channels, height, width, *bounds) if kind == DEEP else None
    if deep is not None:
        shrink, widths = deep
        side = min(side, _DEEP_SIDE)
        return DEEP, ConvReduction(channels, height, width, side, widths, shrink=shrink, channels_last=channels_last)
    return POOLED, PooledReduction(channels, height, width, side, channels_last=channels_last)


def _fast_reduction(kind: str, shape: tuple[int, int, int], side: int, *, channels_last: bool) -> tuple[str, nn.Module]:
    """Kind and reduction of a fast head on a map of ``shape`` C, H, W."""
    channels, height, width = shape
    if kind == _MEAN:
        return kind, MeanReduction(channels, height, width, side, channels_last=channels_last)
    shrink, stride, widths = _convolutions(kind, shape)
    return kind, StridedReduction(
        channels, height, width, min(side, _DEEP_SIDE), widths, stride=stride, shrink=shrink,
        channels_last=channels_last,
    )  # fmt: skip


def _convolutions(kind: str, shape: tuple[int, int, int]) -> tuple[int, int, tuple[int, ...]]:
    """Side of the windows averaged first, stride, and channels after each convolution of a fast head that has some."""
    what, _, growth = kind.partition("-")
    shrink, sides = strided_sides(*shape[1:])
    count = len(sides) - 1
    if what == _PATCH:
        return shrink, 2**count, strided_widths(shape[0], 1, float(growth))
    if what == _LATE:
        kept = (shape[0],) * (count - 1)
        return shrink, 2, (*kept, *strided_widths(shape[0], 1, float(growth)))
    return shrink, 2, strided_widths(shape[0], count, float(growth))


def fast_candidates(cut: CutPoint, backbone_parameters: int) -> tuple[str, ...]:
    """Return the heads of `FAST_HEADS` that are not too large for a cut point, from strong to cheap.

    Left out are those whose convolutions have more than 10 % of the backbone's parameters, and on maps that take one
    convolution of stride 2 the kinds ``late`` and ``patch``, which then differ little from the others. Where there is
    no map, the pooled kind is the only one.

    Args:
        cut: where the head is to stand.
        backbone_parameters: of the whole backbone.
    """
    axes = cut.layout.axes
    if axes not in (MAP, MAP_LAST):
        return (POOLED,)
    size = dict(zip(axes, cut.shape, strict=True))
    shape = size["C"], size["H"], size["W"]
    return tuple(kind for kind in FAST_HEADS if kind == _MEAN or _fits(kind, shape, backbone_parameters))


def _fits(kind: str, shape: tuple[int, int, int], backbone_parameters: int) -> bool:
    """Whether a fast head with convolutions suits a map of ``shape`` C, H, W."""
    if min(shape[1:]) == 1:
        return False
    _, stride, widths = _convolutions(kind, shape)
    pixels = stride**2 if kind.startswith(_PATCH) else 9
    several = len(strided_sides(*shape[1:])[1]) > 2  # noqa: PLR2004 - more than one convolution
    weights = sum(pixels * before * after for before, after in pairwise((shape[0], *widths)))
    fits = weights <= _LARGEST_SHARE * backbone_parameters
    return fits and (several or not kind.startswith((_LATE, _PATCH)))
