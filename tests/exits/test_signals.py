"""Signals: hand-computed values, extreme logits, and the same from NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch

from shallowdeep.errors import UnknownNameError
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.signals import (
    SIGNALS,
    entropy_confidence,
    margin,
    max_probability,
    scan_exits,
    scan_of,
    softmax,
)

LIBRARIES = [np.asarray, torch.asarray]


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_softmax_of_log_weights_gives_the_weights(asarray: Callable[..., Array]) -> None:
    """Logits ln 1, ln 2, ln 5 are probabilities 1/8, 2/8, 5/8, wherever their zero lies."""
    logits = asarray(np.log(np.array([[1, 2, 5]], np.float32)) + np.array([[0], [3]], np.float32))
    assert to_numpy(softmax(logits)) == pytest.approx(np.array([[1, 2, 5], [1, 2, 5]]) / 8, abs=1e-6)


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_extreme_logits_stay_finite(asarray: Callable[..., Array]) -> None:
    """Logits near the end of float32 neither overflow nor give anything but a probability."""
    logits = asarray(np.array([[[1e38, -1e38, 0]], [[-3e38, -3e38, -3e38]]], np.float32))
    assert to_numpy(softmax(logits)) == pytest.approx(np.array([[[1, 0, 0]], [[1 / 3] * 3]]))
    assert to_numpy(max_probability(logits)) == pytest.approx(np.array([[1], [1 / 3]]))


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_max_probability_is_the_largest_softmax(asarray: Callable[..., Array]) -> None:
    """It has shape (E, N), keeps float32, and equals the largest softmax value."""
    logits = np.random.default_rng(0).normal(0, 4, size=(3, 5, 4)).astype(np.float32)
    got = to_numpy(max_probability(asarray(logits)))
    assert got.shape == (3, 5)
    assert got.dtype == np.float32
    assert got == pytest.approx(softmax(logits).max(axis=-1), rel=1e-6)


def test_max_probability_by_hand() -> None:
    """Odds of 3 to 1 are a confidence of 3/4."""
    assert float(max_probability(np.array([[[log(3), 0.0]]], np.float32))[0, 0]) == pytest.approx(0.75)


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_entropy_and_margin_by_hand(asarray: Callable[..., Array]) -> None:
    """Uniform is 0 for both; certain is 1; odds of 3 to 1 are 1 - H/ln 2 and a margin of a half."""
    logits = asarray(np.array([[0, 0], [60, 0], [log(3), 0]], np.float32))
    entropy = -(0.75 * log(0.75) + 0.25 * log(0.25))
    assert to_numpy(entropy_confidence(logits)) == pytest.approx([0, 1, 1 - entropy / log(2)], abs=1e-6)
    assert to_numpy(margin(logits)) == pytest.approx([0, 1, 0.5], abs=1e-6)


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_patience_counts_equal_answers_in_a_row(asarray: Callable[..., Array]) -> None:
    """Answers a a b b of four exits in use are runs of 1 2 1 2."""
    answers = np.array([0, 0, 1, 1])
    confidence, _ = scan_exits("patience", asarray(np.eye(2, dtype=np.float32)[answers][:, None, :]))
    assert to_numpy(confidence)[:, 0] == pytest.approx([0.25, 0.5, 0.25, 0.5])


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_ensemble_is_the_geometric_mean(asarray: Callable[..., Array]) -> None:
    """Probabilities 1/2, 1/2 and 8/9, 1/9 have geometric means in the ratio of sqrt 8 to 1."""
    logits = asarray(np.log(np.array([[[0.5, 0.5]], [[8 / 9, 1 / 9]]], np.float32)))
    confidence, scores = scan_exits("ensemble", logits)
    assert to_numpy(confidence)[:, 0] == pytest.approx([0.5, 8**0.5 / (8**0.5 + 1)], rel=1e-5)
    assert to_numpy(softmax(scores))[1, 0] == pytest.approx([8**0.5 / (8**0.5 + 1), 1 / (8**0.5 + 1)], rel=1e-5)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("asarray", LIBRARIES)
def test_a_scan_of_survivors_is_the_scan_of_all(asarray: Callable[..., Array], signal: str) -> None:
    """Leaving samples out on the way changes nothing for the others, and every value lies in [0, 1]."""
    logits = np.random.default_rng(3).normal(0, 3, size=(4, 20, 3)).astype(np.float32)
    confidence, scores = (to_numpy(values) for values in scan_exits(signal, asarray(logits)))
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    scan, present = scan_of(signal, 4), np.arange(20)
    for k in range(4):
        got, at = scan.step(asarray(logits[k, present].copy()))
        assert to_numpy(got) == pytest.approx(confidence[k, present], abs=1e-6)
        assert to_numpy(at) == pytest.approx(scores[k, present], abs=1e-5)
        stay = np.arange(0, len(present), 2)
        scan.keep(asarray(stay))
        present = present[stay]


def test_an_unknown_signal_is_told() -> None:
    """With the nearest names."""
    with pytest.raises(UnknownNameError, match="nearest: margin"):
        scan_of("margn", 3)
