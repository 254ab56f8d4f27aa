"""Conversion as a recipe wants it: with internal classifiers or without, and of which kind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from shallowdeep.cost import count_macs
from shallowdeep.errors import ConfigurationError
from shallowdeep.sdn.convert import HeadKinds, convert
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.inputs import Inputs, by_name, names_in, ordered, repeated, specs_of
from shallowdeep.sdn.internal_classifier import POOLED
from shallowdeep.sdn.layout import MAP, MAP_LAST
from shallowdeep.sdn.logits import LogitsModule
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.placement import MINIMUM_GAP
from shallowdeep.training.recipes import Recipe


def convert_by(
    recipe: Recipe,
    backbone: nn.Module,
    example_input: Inputs,
    *,
    fractions: Sequence[float] | None = None,
    heads: HeadKinds | None = None,
    cascaded: bool = False,
    minimum_gap: float = MINIMUM_GAP,
    at: Sequence[str] | None = None,
) -> ShallowDeepNetwork:
    """Return the network that a recipe trains.

    Args:
        recipe: decides whether there are internal classifiers, and their kind on maps.
        backbone: maps (N, C, H, W), token ids (N, L), or several inputs by name, to logits.
        example_input: (N, C, H, W) float, (N, L) int64, or several by name; only the first sample is used.
        fractions: target shares of MACs; None for the paper's.
        heads: kinds of internal classifiers, see `shallowdeep.sdn.convert.convert`; None for the recipe's.
        cascaded: let each internal classifier but the first read the logits of the one before it too.
        minimum_gap: least share of MACs between two internal classifiers.
        at: names of cut points to use instead of placing by ``fractions``, see there.

    Raises:
        ConfigurationError: options of internal classifiers for a recipe without them.
        ConversionError: the backbone cannot be converted.
    """
    if not recipe.exits:
        if fractions or heads or cascaded or at:
            raise ConfigurationError(f"Expected no options of exits for the recipe {recipe.name!r}, which has none")
        example = repeated(ordered(backbone, example_input), 1)
        macs = count_macs(LogitsModule(backbone, names_in(example)), *by_name(example).values())
        return ShallowDeepNetwork.without_exits(backbone, macs, specs_of(example))

    def by_recipe(cuts: Sequence[CutPoint]) -> list[str]:
        return [recipe.heads if cut.layout.axes in (MAP, MAP_LAST) else POOLED for cut in cuts]

    return convert(
        backbone, example_input, fractions=fractions, heads=by_recipe if heads is None else heads, cascaded=cascaded,
        minimum_gap=minimum_gap, at=at,
    )  # fmt: skip


def first_of_kind(kind: str, count: int) -> HeadKinds:
    """Return heads of a kind for the first ``count`` cut points, and pooled ones for the others."""

    def kinds(cuts: Sequence[CutPoint]) -> list[str]:
        return [kind if number < count else POOLED for number in range(len(cuts))]

    return kinds
