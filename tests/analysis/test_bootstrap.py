"""Bootstrap intervals against the binomial distribution, which they must reproduce."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.analysis.bootstrap import interval, intervals_of_counts, weights


def test_an_interval_is_the_central_95_percent() -> None:
    """Of 0, 1, ..., 1000: 25 to 975; what is not finite is left out, and too much of that leaves nothing."""
    values = np.arange(1001.0)
    assert interval(values) == pytest.approx([25, 975])
    assert interval(np.concatenate([values, np.full(1000, np.nan)])) == pytest.approx([25, 975])
    assert interval(np.concatenate([values, np.full(1002, np.inf)])) is None
    assert interval(np.zeros(0)) is None


def test_counts_give_the_binomial_interval() -> None:
    """A share of 30 of 100: standard error 4.58 points, so about 21 to 39 %."""
    found = intervals_of_counts(np.array([30, 70]), lambda drawn: {"share": drawn[:, 0] / drawn.sum(axis=1)}, 4000)
    assert found["share"] == pytest.approx([0.21, 0.39], abs=0.011)


def test_figures_that_resamples_lack_are_left_out() -> None:
    """No samples or no resamples give no intervals; neither does a figure that is never there."""
    counts = np.array([3, 0])
    with np.errstate(invalid="ignore"):
        assert intervals_of_counts(counts, lambda drawn: {"share": drawn[:, 1] / drawn[:, 1]}, 10) == {}
    assert intervals_of_counts(np.array([0, 0]), lambda drawn: {"sum": drawn.sum(axis=1)}, 10) == {}
    assert intervals_of_counts(counts, lambda drawn: {"sum": drawn.sum(axis=1)}, 0) == {}


def test_weights_draw_every_sample_once_on_average() -> None:
    """Rows add up to N, chunks to the resamples asked for, and the same seed gives the same draws."""
    drawn = np.concatenate(list(weights(40, 120, seed=3)))
    assert drawn.shape == (120, 40)
    assert (drawn.sum(axis=1) == 40).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(40), abs=0.4)
    assert drawn.var() == pytest.approx(1 - 1 / 40, abs=0.1)  # of a binomial with N draws of 1 / N
    assert (np.concatenate(list(weights(40, 120, seed=3))) == drawn).all()
