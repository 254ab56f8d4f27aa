"""Signals: hand-computed values, extreme logits, and the same from NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch

from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.signals import max_probability, softmax

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
