"""Internal classifiers: a feature reduction and one linear layer on a stage's output."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
)
from shallowdeep.sdn.layout import MAP, MAP_LAST, TOKENS

POOLED, CONV, DEEP = HEADS = ("pooled", "conv", "deep")
_DEEP_SIDE = 2  # of the pooled map behind the convolutions of a deep head


class InternalClassifier(nn.Module):
    """Logits (N, C) from a stage's output and, where it is cascaded, from the internal classifier before it.

    Args:
        reduction: a module that is a `FeatureReduction`.
        classes: C.
        kind: which of `HEADS` it is; token sequences and vectors have the pooled kind only.
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

    def summarise(self, x: Tensor) -> Tensor:
        """The parameter-free part of the classifier, to be cached."""
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

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits (N, C).

        Args:
            x: the stage's output.
            previous: (N, C) logits of the internal classifier before, which cascaded ones read.

        Raises:
            ValueError: it is cascaded and there are none.
        """
        return self.classify(self.summarise(x), previous)


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
            convolutions down to 8 pixels a side (see `deep_convolutions`). Convolutions are for maps; those of a
            single pixel, and those that deep heads would be too large for, get the pooled kind.
        backbone_macs: bounds what a deep head costs.
        cascaded: read the logits of the internal classifier before it too.

    Raises:
        ConfigurationError: ``head`` is none of `HEADS`, or a convolution where there is no map.
    """
    if head not in HEADS:
        raise ConfigurationError(f"Expected a head among {', '.join(HEADS)}, got {head!r}")
    axes = cut.layout.axes
    if axes in (MAP, MAP_LAST):
        size = dict(zip(axes, cut.shape, strict=True))
        kind = head if min(size["H"], size["W"]) > 1 else POOLED
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
    if kind == CONV:
        narrow = max(1, channels // 2)
        return CONV, ConvReduction(channels, height, width, side, (narrow,), channels_last=channels_last)
    deep = deep_convolutions(channels, height, width, *bounds) if kind == DEEP else None
    if deep is not None:
        shrink, widths = deep
        side = min(side, _DEEP_SIDE)
        return DEEP, ConvReduction(channels, height, width, side, widths, shrink=shrink, channels_last=channels_last)
    return POOLED, PooledReduction(channels, height, width, side, channels_last=channels_last)
