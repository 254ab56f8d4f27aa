"""From a ready classifier to a Shallow-Deep Network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from shallowdeep.cost import count_macs
from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.cut_points import CutPoint, cut_points
from shallowdeep.sdn.internal_classifier import InternalClassifier, attach
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork
from shallowdeep.sdn.placement import MINIMUM_GAP, PAPER_FRACTIONS, choose_places, most_places
from shallowdeep.sdn.profile import NodeProfile, profile
from shallowdeep.sdn.stage import split
from shallowdeep.sdn.tracing import trace


def convert(
    backbone: nn.Module,
    example_input: Tensor,
    *,
    fractions: Sequence[float] | None = None,
    heads: Sequence[str] | str = "pooled",
    minimum_gap: float = MINIMUM_GAP,
    at: Sequence[str] | None = None,
) -> ShallowDeepNetwork:
    """Attach internal classifiers to a classifier, without rewriting it.

    The backbone is traced, cut where one tensor is alive, and the internal classifiers are placed by measured cost.
    Its final logits stay bit-identical in eval mode, and in train mode it computes, and updates, what it did before.

    Args:
        backbone: maps (N, 3, H, W) to logits (N, C). It is taken over, not copied, and left in its mode.
        example_input: (N, 3, H, W) float; the size the network is for. Only the first image is used.
        fractions: target shares of the backbone's MACs, increasing. Default: the paper's six, or as many of
            them as the network has places for.
        heads: kind of internal classifier, ``pooled`` or ``conv``, one for all or one each.
        minimum_gap: least share of MACs between two internal classifiers.
        at: names of cut points to use instead of placing by ``fractions``, as saved networks do.

    Returns:
        The network; internal classifiers are freshly initialised from torch's generator, in the backbone's device and dtype.

    Raises:
        ConversionError: the backbone cannot be traced, has no cut point or fewer than asked for.
        ConfigurationError: a fraction outside (0, 1), or an unknown head.

    Source: Kaya et al. 2019, section 3; placement by measured cost is ours.
    """
    traced = trace(backbone)
    profiles = profile(traced, example_input)
    classes = _class_count(traced.graph, profiles)
    cuts = cut_points(traced, profiles)
    if at is None:
        targets = _default_fractions(cuts, minimum_gap) if fractions is None else tuple(fractions)
        chosen = [cuts[i] for i in choose_places(cuts, targets, minimum_gap)]
    else:
        chosen = _named(cuts, at)
        targets = tuple(fractions) if fractions is not None else tuple(cut.depth for cut in chosen)
    kinds = [heads] * len(chosen) if isinstance(heads, str) else list(heads)
    if len(kinds) != len(chosen):
        raise ConfigurationError(f"Expected one head for each of {len(chosen)} internal classifiers, got {len(kinds)}")
    parameters = sum(p.numel() for p in backbone.parameters())
    first = next(backbone.parameters(), example_input)
    classifiers = [
        attach(cut, classes, parameters, kind).to(device=first.device, dtype=first.dtype)
        for cut, kind in zip(chosen, kinds, strict=True)
    ]
    for classifier in classifiers:
        classifier.train(backbone.training)
    total = sum(p.macs for p in profiles.values())
    exits = _exits(chosen, targets, kinds, classifiers, total, first)
    network = ShallowDeepNetwork(backbone, split(traced, profiles, chosen), classifiers, exits, total)
    _check_equal(network, example_input)
    return network.train(backbone.training)


def _class_count(graph: fx.Graph, profiles: dict[fx.Node, NodeProfile]) -> int:
    output = list(graph.nodes)[-1].args[0]
    shape = profiles[output].shape if isinstance(output, fx.Node) else None
    if shape is None or len(shape) != 2:  # noqa: PLR2004 - (N, C)
        raise ConversionError(
            f"Expected the backbone to return one tensor of logits (N, C), got {'several values' if shape is None else shape}"
        )
    return shape[1]


def _default_fractions(cuts: Sequence[CutPoint], minimum_gap: float) -> tuple[float, ...]:
    """The paper's fractions, evenly thinned out where the network has fewer places."""
    count = min(most_places(cuts, minimum_gap), len(PAPER_FRACTIONS))
    if count == len(PAPER_FRACTIONS):
        return PAPER_FRACTIONS
    step = len(PAPER_FRACTIONS) / count
    return tuple(PAPER_FRACTIONS[int(step * i + step / 2)] for i in range(count))


def _named(cuts: Sequence[CutPoint], names: Sequence[str]) -> list[CutPoint]:
    known = {cut.name: cut for cut in cuts}
    missing = [name for name in names if name not in known]
    if missing:
        raise ConversionError(
            f"Expected cut points {', '.join(missing)} in the traced backbone, which has {', '.join(known)}"
        )
    return [known[name] for name in names]


def _exits(
    cuts: Sequence[CutPoint],
    fractions: Sequence[float],
    heads: Sequence[str],
    classifiers: Sequence[InternalClassifier],
    backbone_macs: int,
    like: Tensor,
) -> list[Exit]:
    passed = 0
    exits = []
    for cut, fraction, head, classifier in zip(cuts, fractions, heads, classifiers, strict=True):
        passed += count_macs(classifier, torch.zeros(cut.shape, device=like.device, dtype=like.dtype))
        macs = round(cut.depth * backbone_macs) + passed
        exits.append(Exit(cut.module, cut.name, fraction, cut.depth, macs, head))
    exits.append(Exit("final", "", 1.0, 1.0, backbone_macs + passed))
    return exits


def _check_equal(network: ShallowDeepNetwork, example_input: Tensor) -> None:
    """Compare the stages with the backbone on two images, so that no wrong conversion leaves this module."""
    images = example_input[:1].repeat(2, *[1] * (example_input.dim() - 1))
    with torch.no_grad(), evaluating(network):
        expected = network.backbone(images)
        _, got = network.stage_outputs(images)
    if not torch.equal(expected, got):
        gap = (expected - got).abs().max().item()
        raise ConversionError(
            f"Expected the stages to give {type(network.backbone).__name__}'s logits exactly, but they differ by up to {gap:.3g}: "
            "its forward depends on something besides its input and parameters"
        )
