"""Internal classifiers: a feature reduction and one linear layer on a stage's output."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

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
    """Logits (N, C) from a stage's output.

    Args:
        reduction: a module that is a `FeatureReduction`.
        classes: C.
    """

    def __init__(self, reduction: nn.Module, classes: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.linear = nn.Linear(self._reduction.features, classes)

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

    def classify(self, summary: Tensor) -> Tensor:
        """Logits (N, C) from what `summarise` returned."""
        logits: Tensor = self.linear(self._reduction.combine(summary))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.classify(self.summarise(x))


def attach(cut: CutPoint, classes: int, backbone_parameters: int, head: str = "pooled") -> InternalClassifier:
    """The internal classifier for a cut point.

    Args:
        cut: where it stands; its layout decides how the tensor is read.
        classes: C.
        backbone_parameters: bounds the head's size beyond the paper's map sizes.
        head: ``pooled`` (the paper's on maps) or ``conv``; token sequences and vectors have one kind only.

    Raises:
        ConfigurationError: ``head`` is none of `HEADS`.
    """
    if head not in HEADS:
        raise ConfigurationError(f"Expected a head among {', '.join(HEADS)}, got {head!r}")
    axes = cut.layout.axes
    if axes == TOKENS:
        return InternalClassifier(TokenReduction(cut.shape[-1], class_token=cut.layout.class_token), classes)
    if axes not in (MAP, MAP_LAST):
        return InternalClassifier(VectorReduction(cut.shape[-1]), classes)
    size = dict(zip(axes, cut.shape, strict=True))
    channels, height, width = size["C"], size["H"], size["W"]
    side = pooled_side(channels, height, width, classes, backbone_parameters)
    kind = ConvReduction if head == "conv" and min(height, width) > 1 else PooledReduction
    return InternalClassifier(kind(channels, height, width, side, channels_last=axes == MAP_LAST), classes)
