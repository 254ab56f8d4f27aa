"""Internal classifiers: a feature reduction and one linear layer on a stage's output."""

from __future__ import annotations

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
    pooled_side,
)
from shallowdeep.sdn.layout import MAP, MAP_LAST, TOKENS

HEADS = ("pooled", "conv")


class InternalClassifier(nn.Module):
    """Logits (N, C) from a stage's output and, where it is cascaded, from the internal classifier before it.

    Args:
        reduction: a module that is a `FeatureReduction`.
        classes: C.
        cascaded: read the layer-normalised logits of the internal classifier before it too; no gradient flows back
            into them.

    Source: Wolczyk et al., "Zero Time Waste", NeurIPS 2021, section 3.1 (cascade connections).
    """

    def __init__(self, reduction: nn.Module, classes: int, *, cascaded: bool = False) -> None:
        super().__init__()
        self.reduction = reduction
        self.linear = nn.Linear(self._reduction.features, classes)
        self.cascade = nn.Linear(classes, classes, bias=False) if cascaded else None

    @property
    def _reduction(self) -> FeatureReduction:
        return cast("FeatureReduction", self.reduction)

    @property
    def kind(self) -> str:
        """Which of `HEADS` it is; token sequences and vectors have the pooled kind only."""
        return "conv" if isinstance(self.reduction, ConvReduction) else "pooled"

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
        if self.cascade is None or previous is None:
            return logits
        share: Tensor = self.cascade(F.layer_norm(previous.detach(), previous.shape[-1:]))
        return logits + share

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits (N, C).

        Args:
            x: the stage's output.
            previous: (N, C) logits of the internal classifier before; only cascaded ones read them. Without them
                their share is left out, which changes the logits but not their gradient with respect to ``x``.
        """
        return self.classify(self.summarise(x), previous)


def attach(
    cut: CutPoint, classes: int, backbone_parameters: int, head: str = "pooled", *, cascaded: bool = False
) -> InternalClassifier:
    """The internal classifier for a cut point.

    Args:
        cut: where it stands; its layout decides how the tensor is read.
        classes: C.
        backbone_parameters: bounds the head's size beyond the paper's map sizes.
        head: ``pooled`` (the paper's on maps) or ``conv``; the latter is for maps, and those of a single pixel get
            the former.
        cascaded: read the logits of the internal classifier before it too.

    Raises:
        ConfigurationError: ``head`` is none of `HEADS`, or ``conv`` where there is no map.
    """
    if head not in HEADS:
        raise ConfigurationError(f"Expected a head among {', '.join(HEADS)}, got {head!r}")
    return InternalClassifier(_reduction(cut, classes, backbone_parameters, head), classes, cascaded=cascaded)


def _reduction(cut: CutPoint, classes: int, backbone_parameters: int, head: str) -> nn.Module:
    """The feature reduction for a cut point."""
    axes = cut.layout.axes
    if head == "conv" and axes not in (MAP, MAP_LAST):
        what = "token sequences" if axes == TOKENS else "vectors"
        raise ConfigurationError(f"Expected maps for a conv head, got {what} at {cut.module}")
    if axes == TOKENS:
        return TokenReduction(cut.shape[-1], class_token=cut.layout.class_token)
    if axes not in (MAP, MAP_LAST):
        return VectorReduction(cut.shape[-1])
    size = dict(zip(axes, cut.shape, strict=True))
    channels, height, width = size["C"], size["H"], size["W"]
    side = pooled_side(channels, height, width, classes, backbone_parameters)
    kind = ConvReduction if head == "conv" and min(height, width) > 1 else PooledReduction
    return kind(channels, height, width, side, channels_last=axes == MAP_LAST)
