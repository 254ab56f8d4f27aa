"""Conversion as a recipe wants it: with internal classifiers or without, and of which kind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from shallowdeep.cost import count_macs
from shallowdeep.errors import ConfigurationError
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.internal_classifier import POOLED
from shallowdeep.sdn.layout import MAP, MAP_LAST
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.recipes import Recipe


def convert_by(
    recipe: Recipe,
    backbone: nn.Module,
    example_input: Tensor,
    *,
    fractions: Sequence[float] | None = None,
    first_heads: Sequence[str] | None = None,
    cascaded: bool = False,
) -> ShallowDeepNetwork:
    """Return the network that a recipe trains.

    Args:
        recipe: decides whether there are internal classifiers, and their kind on maps.
        backbone: maps (N, C, H, W) to logits.
        example_input: (N, C, H, W) float; only the first image is used.
        fractions: target shares of MACs; None for the paper's.
        first_heads: kinds of the first internal classifiers, instead of the recipe's; the others are pooled.
        cascaded: let each internal classifier but the first read the logits of the one before it too.

    Raises:
        ConfigurationError: options of internal classifiers for a recipe without them.
        ConversionError: the backbone cannot be converted.
    """
    if not recipe.exits:
        if fractions or first_heads or cascaded:
            raise ConfigurationError(f"Expected no options of exits for the recipe {recipe.name!r}, which has none")
        macs = count_macs(backbone, example_input[:1])
        network = ShallowDeepNetwork.without_exits(backbone, macs)
        network.input_shape = tuple(example_input.shape[1:])
        return network

    def kinds(cuts: Sequence[CutPoint]) -> list[str]:
        if first_heads is not None:
            return [*first_heads, *[POOLED] * len(cuts)][: len(cuts)]
        return [recipe.heads if cut.layout.axes in (MAP, MAP_LAST) else POOLED for cut in cuts]

    return convert(backbone, example_input, fractions=fractions, heads=kinds, cascaded=cascaded)
