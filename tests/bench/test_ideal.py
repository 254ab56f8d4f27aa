"""What the exits taken allow; by hand."""

from __future__ import annotations

import pytest

from shallowdeep.bench.ideal import ideal_speedup


def test_the_ideal_is_the_time_before_each_exit() -> None:
    """Segments of 1, 2 and 5 ms: stopping after the first two, once each, takes 1 and 3 of 8."""
    ideal = ideal_speedup([0, 1], [1.0, 2.0, 5.0], [0.2, 0.4, 1.0], 8.0)
    assert ideal.by_time == pytest.approx(8 / 2)
    assert ideal.by_macs == pytest.approx(1 / 0.3)
    assert ideal.relative_cost == pytest.approx(0.3)


def test_no_early_exit_is_no_gain() -> None:
    """All images at the last segment give 1."""
    assert ideal_speedup([2, 2], [1.0, 2.0, 5.0], [0.2, 0.4, 1.0], 8.0).by_time == pytest.approx(1)
