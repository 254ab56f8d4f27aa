"""The classifier that each layout gets."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from shallowdeep.errors import ConfigurationError
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.feature_reduction import ConvReduction, PooledReduction, TokenReduction, VectorReduction
from shallowdeep.sdn.internal_classifier import FAST_HEADS, attach, fast_candidates
from shallowdeep.sdn.layout import MAP, MAP_LAST, TOKENS, VECTOR, Layout
from shallowdeep.sdn.strided_reduction import MeanReduction, StridedReduction


def cut(shape: tuple[int, ...], layout: Layout) -> CutPoint:
    """A cut point of one shape."""
    return CutPoint(fx.Graph().placeholder("x"), "x", "x", 1, 0.5, 1, shape, layout)


@pytest.mark.parametrize(
    ("shape", "layout", "head", "kind", "features"),
    [
        ((1, 6, 8, 8), Layout(MAP), "pooled", PooledReduction, 6 * 16),
        ((1, 8, 8, 6), Layout(MAP_LAST), "pooled", PooledReduction, 6 * 16),
        ((1, 6, 8, 8), Layout(MAP), "conv", ConvReduction, 3 * 16),
        ((1, 6, 1, 1), Layout(MAP), "conv", PooledReduction, 6),
        ((1, 6, 8, 8), Layout(MAP), "deep", ConvReduction, 6 * 4),
        ((1, 16, 16, 6), Layout(MAP_LAST), "deep", ConvReduction, 12 * 4),
        ((1, 6, 32, 32), Layout(MAP), "strided-2", StridedReduction, 24 * 4),
        ((1, 16, 16, 6), Layout(MAP_LAST), "strided-0.5", StridedReduction, 3 * 4),
        ((1, 6, 32, 32), Layout(MAP), "late-4", StridedReduction, 24 * 4),
        ((1, 6, 32, 32), Layout(MAP), "patch-2", StridedReduction, 12 * 4),
        ((1, 6, 64, 64), Layout(MAP), "patch-2", StridedReduction, 12 * 4),
        ((1, 6, 8, 8), Layout(MAP), "mean", MeanReduction, 6 * 16),
        ((1, 8, 8, 6), Layout(MAP_LAST), "mean", MeanReduction, 6 * 16),
        ((1, 6, 1, 1), Layout(MAP), "strided-2", MeanReduction, 6),
        ((1, 5, 6), Layout(TOKENS, class_token=True), "pooled", TokenReduction, 6),
        ((1, 5, 6), Layout(TOKENS), "pooled", TokenReduction, 6),
        ((1, 6), Layout(VECTOR), "pooled", VectorReduction, 6),
    ],
)
def test_kinds(shape: tuple[int, ...], layout: Layout, head: str, kind: type, features: int) -> None:
    """Maps are pooled or convolved, tokens normalised, vectors read; logits come out, in two halves or one."""
    classifier = attach(cut(shape, layout), 10, 10**6, head).eval()
    assert isinstance(classifier.reduction, kind)
    assert classifier.linear.in_features == features
    x = torch.randn(3, *shape[1:])
    logits = classifier(x)
    assert logits.shape == (3, 10)
    assert torch.equal(classifier.classify(classifier.summarise(x)), logits)
    assert classifier.cacheable == (kind not in {ConvReduction, StridedReduction})


def test_class_token_is_read_alone() -> None:
    """With a class token the other tokens do not matter; without one they do."""
    x = torch.randn(1, 5, 6)
    y = torch.cat([x[:, :1], torch.randn(1, 4, 6)], dim=1)
    for class_token in (True, False):
        classifier = attach(cut((1, 5, 6), Layout(TOKENS, class_token=class_token)), 10, 0)
        assert torch.equal(classifier(x), classifier(y)) == class_token


def test_unknown_heads_are_refused() -> None:
    """The message names the heads there are."""
    with pytest.raises(ConfigurationError, match=r"pooled, conv, deep, strided-2, .*, mean, got 'wide'"):
        attach(cut((1, 6), Layout(VECTOR)), 10, 0, "wide")


@pytest.mark.parametrize(
    ("shape", "layout", "what"), [((1, 5, 6), Layout(TOKENS), "token sequences"), ((1, 6), Layout(VECTOR), "vectors")]
)
def test_convolutions_are_for_maps(shape: tuple[int, ...], layout: Layout, what: str) -> None:
    """Asked for elsewhere, they are refused by name and place."""
    with pytest.raises(ConfigurationError, match=f"Expected maps for conv heads, got {what} at x"):
        attach(cut(shape, layout), 10, 10**6, "conv")


def test_a_cascaded_classifier_reads_normalised_logits() -> None:
    """It adds a linear map of them, each row normalised, and lets no gradient back; without them it answers nothing."""
    torch.manual_seed(0)
    classifier = attach(cut((1, 6, 8, 8), Layout(MAP)), 10, 10**6, cascaded=True)
    x, previous = torch.randn(3, 6, 8, 8), torch.randn(3, 10, requires_grad=True)
    alone, both = classifier(x, torch.zeros(3, 10)), classifier(x, previous)
    assert classifier.cascade is not None
    rows = previous.detach()
    normalised = (rows - rows.mean(1, keepdim=True)) / torch.sqrt(rows.var(1, unbiased=False, keepdim=True) + 1e-5)
    torch.testing.assert_close(both - alone, normalised @ classifier.cascade.weight.T)
    both.sum().backward()
    assert previous.grad is None
    assert classifier.cascade.weight.grad is not None
    with pytest.raises(ValueError, match="Expected the logits of the exit before"):
        classifier(x)


def test_deep_heads_that_would_be_too_large_are_pooled() -> None:
    """A quarter of 512 channels has 590,000 weights, more than a tenth of the backbone's."""
    classifier = attach(cut((1, 512, 8, 8), Layout(MAP)), 10, 10**6, "deep")
    assert (classifier.kind, type(classifier.reduction)) == ("pooled", PooledReduction)


@pytest.mark.parametrize(
    ("shape", "parameters", "expected"),
    [
        ((1, 16, 32, 32), 10**6, FAST_HEADS),
        ((1, 32, 16, 16), 10**6, ("strided-2", "strided-1", "strided-0.5", "mean")),  # one convolution gets there
        ((1, 64, 8, 8), 400_000, ("strided-1", "strided-0.5", "mean")),  # 9·64·128 weights are above 10 %
        ((1, 64, 1, 1), 10**9, ("mean",)),
    ],
)
def test_fast_heads_that_fit_are_candidates(shape: tuple[int, ...], parameters: int, expected: tuple[str, ...]) -> None:
    """From strong to cheap, without those that have too many weights; each can be attached under its own name."""
    place = cut(shape, Layout(MAP))
    assert fast_candidates(place, parameters) == expected
    assert [attach(place, 10, parameters, kind).kind for kind in expected] == list(expected)


def test_where_there_is_no_map_the_pooled_kind_is_the_only_candidate() -> None:
    """Token sequences have no other head."""
    assert fast_candidates(cut((1, 5, 6), Layout(TOKENS)), 10**6) == ("pooled",)
