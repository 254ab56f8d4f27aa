"""The confidence policy against slow loops, and what holds for any confidences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.policy import first_confident_exit

LIBRARIES = [np.asarray, torch.asarray]
ABOVE_ONE = float(np.nextafter(np.float32(1), np.float32(2)))

confidences = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(0, 1, width=32))
thresholds = st.floats(0, 1.5)


def slow_first_confident_exit(confidence: Array, threshold: float) -> list[int]:
    """Walk exit by exit, sample by sample."""
    stops = []
    for sample in range(confidence.shape[1]):
        exit_ = 0
        while exit_ < confidence.shape[0] - 1 and confidence[exit_, sample] < np.float32(threshold):
            exit_ += 1
        stops.append(exit_)
    return stops


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_first_exit_at_or_above_the_threshold(asarray: Callable[..., Array]) -> None:
    """A sample stops where it first reaches the threshold, on it included, and at the last exit otherwise."""
    confidence = asarray(np.array([[0.9, 0.2, 0.5, 0.3], [0.1, 0.5, 0.9, 0.4], [0.1, 0.1, 0.1, 0.2]], np.float32))
    assert first_confident_exit(confidence, 0.5).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("asarray", LIBRARIES)
@settings(deadline=None)
@given(confidence=confidences, threshold=thresholds)
def test_agrees_with_a_slow_loop(asarray: Callable[..., Array], confidence: Array, threshold: float) -> None:
    """The vectorised policy is the loop, for both libraries."""
    got = first_confident_exit(asarray(confidence.copy()), threshold)
    assert got.tolist() == slow_first_confident_exit(confidence, threshold)


@pytest.mark.parametrize("asarray", LIBRARIES)
@settings(deadline=None)
@given(confidence=confidences, pair=st.tuples(thresholds, thresholds))
def test_a_higher_threshold_never_exits_earlier(
    asarray: Callable[..., Array], confidence: Array, pair: tuple[float, float]
) -> None:
    """Raising the threshold moves no sample to an earlier exit."""
    low, high = (to_numpy(first_confident_exit(asarray(confidence.copy()), q)) for q in sorted(pair))
    assert np.all(low <= high)


@pytest.mark.parametrize("asarray", LIBRARIES)
@settings(deadline=None)
@given(confidence=confidences)
def test_zero_leaves_at_first_and_above_one_never_early(asarray: Callable[..., Array], confidence: Array) -> None:
    """The two ends of the range are the first and the last exit."""
    array = asarray(confidence.copy())
    assert set(first_confident_exit(array, 0.0).tolist()) == {0}
    assert set(first_confident_exit(array, ABOVE_ONE).tolist()) == {confidence.shape[0] - 1}


@pytest.mark.parametrize("asarray", LIBRARIES)
def test_a_threshold_is_rounded_as_the_confidence_is(asarray: Callable[..., Array]) -> None:
    """0.9 in double is below 0.9 in single, 0.7 above: a confidence written as either still counts as reaching it."""
    for value in (0.9, 0.7):
        confidence = asarray(np.array([[value], [0.0]], np.float32))
        assert first_confident_exit(confidence, value).tolist() == [0]
        assert first_confident_exit(confidence, np.float64(value)).tolist() == [0]


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_refuses_senseless_thresholds(threshold: float) -> None:
    """Below 0 or not a number is told as such."""
    with pytest.raises(ConfigurationError, match="Expected a threshold of at least 0, got"):
        first_confident_exit(np.zeros((2, 3), np.float32), threshold)


@pytest.mark.parametrize(
    "confidence", [np.zeros(3, np.float32), np.zeros((0, 3), np.float32), np.zeros((2, 3), np.int64)]
)
def test_refuses_what_is_no_confidence(confidence: Array) -> None:
    """Wrong axes, no exits, and integers (which would round the threshold away) are refused."""
    with pytest.raises(DataError, match="Expected"):
        first_confident_exit(confidence, 0.5)


def test_each_exit_may_have_its_own_threshold() -> None:
    """One for each exit but the last; another number is refused."""
    confidence = np.array([[0.5, 0.5], [0.5, 0.2], [0.0, 0.0]], np.float32)
    assert first_confident_exit(confidence, [0.6, 0.4]).tolist() == [1, 2]
    with pytest.raises(ConfigurationError, match="Expected a threshold for each of 2 exits before the last, got 1"):
        first_confident_exit(confidence, [0.6])
