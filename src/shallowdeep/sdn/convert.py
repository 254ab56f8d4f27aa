"""From a ready classifier to a Shallow-Deep Network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

import torch
from torch import Tensor, fx, nn

from shallowdeep.cost import count_macs
from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.cut_points import CutPoint, cut_points
from shallowdeep.sdn.independence import check_independence, check_padding
from shallowdeep.sdn.inputs import (
    Inputs,
    first_of,
    ordered,
    repeated,
    run_on,
    sequence_length,
    shortened,
    specs_of,
)
from shallowdeep.sdn.internal_classifier import InternalClassifier, attach
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork
from shallowdeep.sdn.placement import MINIMUM_GAP, choose_places, default_fractions
from shallowdeep.sdn.profile import SHORTEST, NodeProfile, profile
from shallowdeep.sdn.stage import split
from shallowdeep.sdn.tracing import TracedBackbone, trace
from shallowdeep.sdn.wrappers import unwrapped

HeadKinds: TypeAlias = str | Sequence[str] | Callable[[Sequence[CutPoint]], Sequence[str]]


def convert(
    backbone: nn.Module,
    example_input: Inputs,
    *,
    fractions: Sequence[float] | None = None,
    heads: HeadKinds = "pooled",
    cascaded: bool = False,
    minimum_gap: float = MINIMUM_GAP,
    at: Sequence[str] | None = None,
    saved: bool = False,
) -> ShallowDeepNetwork:
    """Attach internal classifiers to a classifier, without rewriting it.

    The backbone is traced, cut where one tensor is alive, and the internal classifiers are placed by measured cost.
    Its final logits stay bit-identical in eval mode, and in train mode it computes, and updates, what it did before.
    The stages are for the example's image size, at any batch size. They run on the backbone's own modules: changes of
    weights, modes, and of childless modules take effect; numbers that a ``forward`` reads from a module with children
    are fixed here, and hooks on the backbone itself are not run. After an error the backbone is as it was.

    Args:
        backbone: maps (N, 3, H, W) to logits (N, C), or to a tuple, dictionary or object with logits; each image's by
            itself. It is taken over, not copied, and left in its modes; what `torch.compile` or DataParallel wrapped
            is taken out.
        example_input: (N, 3, H, W) float; the size the network is for. Only the first image is used. For networks of
            several inputs, or of token ids, tensors (N, ...) by the names that forward gives them; the first by its
            order enters the first stage. The network then runs at other lengths of its token ids too.
        fractions: target shares of the backbone's MACs, increasing. Default: the paper's six, or as many of
            them as the network has places for.
        heads: kind of internal classifier, ``pooled``, ``conv``, ``deep`` or a fast one, one for all or one each, or a
            function of the cut points chosen that returns one each; see `attach`.
        cascaded: let each internal classifier but the first read the logits of the one before it too.
        minimum_gap: least share of MACs between two internal classifiers, in [0, 1).
        at: names of cut points, in execution order, to use instead of placing by ``fractions``, as saved networks do.
        saved: it was converted before, so that each image's logits are known to be its own.

    Returns:
        The network. Internal classifiers are freshly initialised from torch's generator, in the backbone's device
        and dtype.

    Raises:
        ConversionError: the backbone cannot be traced, cannot run on the example, does not return logits (N, C), has no
            cut point or fewer than asked for, or lets the images of a batch change each other's logits.
        ConfigurationError: a fraction outside (0, 1), an unknown head, a convolution asked for where there is no map,
            a cascade of one internal classifier, or numbers of settings that differ.

    Source: Kaya et al. 2019, section 3; placement by measured cost is ours.
    """
    if not 0 <= minimum_gap < 1:
        raise ConfigurationError(f"Expected minimum_gap in [0, 1), got {minimum_gap}")
    backbone = unwrapped(backbone)
    example_input = ordered(backbone, example_input)
    traced = trace(backbone, example_input)
    profiles = profile(traced, example_input)
    classes = _class_count(traced, profiles)
    cuts = cut_points(traced, profiles)
    if at is None:
        targets = default_fractions(cuts, minimum_gap) if fractions is None else tuple(fractions)
        chosen = [cuts[i] for i in choose_places(cuts, targets, minimum_gap)]
    else:
        chosen = _named(cuts, at)
        targets = tuple(cut.depth for cut in chosen) if fractions is None else tuple(fractions)
    kinds = _kinds(heads, chosen)
    for what, values in (("head", kinds), ("fraction", targets)):
        if len(values) != len(chosen):
            raise ConfigurationError(
                f"Expected one {what} for each of {len(chosen)} internal classifiers, got {len(values)}"
            )
    if cascaded and len(chosen) == 1:
        raise ConfigurationError("Expected at least two internal classifiers to cascade, got one")
    parameters = sum(p.numel() for p in backbone.parameters())
    total = sum(p.macs for p in profiles.values())
    like = next((p for p in backbone.parameters() if p.is_floating_point()), first_of(example_input))
    classifiers = [
        attach(cut, classes, parameters, kind, backbone_macs=total, cascaded=cascaded and number > 0)
        .to(device=like.device, dtype=like.dtype)
        .train(backbone.training)
        for number, (cut, kind) in enumerate(zip(chosen, kinds, strict=True))
    ]
    exits = _exits(chosen, targets, classifiers, _passed(chosen, classifiers, like), total)
    network = ShallowDeepNetwork(backbone, split(traced, profiles, chosen), classifiers, exits, total)
    network.inputs, network.fixed_size = specs_of(example_input), traced.fixed_size
    _check_equal(network, example_input)
    if not saved:
        check_independence(backbone, example_input)
        check_padding(backbone, example_input)
    return network


def candidates(backbone: nn.Module, example_input: Inputs) -> list[CutPoint]:
    """Return every cut point of a classifier, by depth.

    Args:
        backbone: left as it is.
        example_input: as for `convert`.

    Raises:
        ConversionError: the backbone cannot be traced or run on the example, or has no cut point.
    """
    backbone = unwrapped(backbone)
    example_input = ordered(backbone, example_input)
    traced = trace(backbone, example_input)
    return cut_points(traced, profile(traced, example_input))


def _kinds(heads: HeadKinds, chosen: Sequence[CutPoint]) -> list[str]:
    if isinstance(heads, str):
        return [heads] * len(chosen)
    return list(heads(chosen) if callable(heads) else heads)


def _class_count(traced: TracedBackbone, profiles: dict[fx.Node, NodeProfile]) -> int:
    output = list(traced.graph.nodes)[-1].args[0]
    shape = profiles[output].shape if isinstance(output, fx.Node) else None
    if shape is None or len(shape) != 2:  # noqa: PLR2004 - (N, C)
        raise ConversionError(
            f"Expected {type(traced.backbone).__name__} to return one tensor of logits (N, C), got "
            f"{'several values' if shape is None else shape}; wrap it in a module that returns the logits alone"
        )
    return shape[1]


def _named(cuts: Sequence[CutPoint], names: Sequence[str]) -> list[CutPoint]:
    known = {cut.name: cut for cut in cuts}
    missing = [name for name in names if name not in known]
    if missing:
        raise ConversionError(
            f"Expected cut points {', '.join(missing)} in the traced backbone, which has {', '.join(known)}"
        )
    chosen = [known[name] for name in names]
    if any(a.depth >= b.depth for a, b in pairwise(chosen)):
        raise ConversionError(f"Expected cut points in execution order, got {', '.join(names)}")
    return chosen


def _exits(
    cuts: Sequence[CutPoint],
    fractions: Sequence[float],
    classifiers: Sequence[InternalClassifier],
    passed: Sequence[int],
    total: int,
) -> list[Exit]:
    exits = [
        Exit(cut.module, cut.name, fraction, cut.depth, cut.macs + added, head.kind, head.cascade is not None)
        for cut, fraction, head, added in zip(cuts, fractions, classifiers, passed, strict=True)
    ]
    return [*exits, Exit("final", "", 1.0, 1.0, total + (passed[-1] if passed else 0))]


def _passed(cuts: Sequence[CutPoint], classifiers: Sequence[InternalClassifier], like: Tensor) -> list[int]:
    """MACs of the internal classifiers up to and including each."""
    each = (
        count_macs(classifier, like.new_zeros(cut.shape), like.new_zeros(1, classifier.linear.out_features))
        for cut, classifier in zip(cuts, classifiers, strict=True)
    )
    return list(accumulate(each))


def _check_equal(network: ShallowDeepNetwork, example_input: Inputs) -> None:
    """Compare the stages with the backbone on two samples, so that no wrong conversion leaves this module."""
    name, length = type(network.backbone).__name__, sequence_length(example_input)
    batches = [repeated(example_input, 2)]
    if length is not None and length > SHORTEST:
        batches.append(shortened(batches[0], length - 1))
    for batch in batches:
        with torch.no_grad(), evaluating(network):
            expected = logits_of(run_on(network.backbone, batch))
            _, got = network.stage_outputs(batch)
        if torch.equal(expected.nan_to_num(), got.nan_to_num()):
            continue
        gap = (expected - got).abs().max().item()
        raise ConversionError(
            f"Expected the stages to give {name}'s logits exactly, but they differ by up to {gap:.3g}: "
            "its forward depends on something besides its input and parameters"
        )
