"""Histograms over shared bins."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.analysis.histogram import BINS, shared_histograms


def test_bins_are_shared_and_hold_every_value() -> None:
    """Bins reach from the lowest to the highest thousandth of all values together; outliers are in the outer bins."""
    groups = [np.arange(5000.0), np.append(np.arange(5000.0, 9999.0), 1e6), np.zeros(0)]
    found = shared_histograms(groups)
    low, high = np.quantile(np.concatenate(groups), [0.001, 0.999])
    assert found.edges == pytest.approx(np.linspace(low, high, BINS + 1))
    assert [sum(counts) for counts in found.counts] == [5000, 5000, 0]
    slow = [0] * BINS
    for value in groups[1]:
        slow[min(max(int(np.searchsorted(found.edges, value, side="right")) - 1, 0), BINS - 1)] += 1
    assert found.counts[1] == tuple(slow)


def test_equal_values_have_a_bin_of_their_own() -> None:
    """All in the first, and bins still have a width."""
    found = shared_histograms([np.full(7, 2.0)])
    assert (found.edges[0], found.edges[-1]) == (2.0, 3.0)
    assert found.counts == ((7, *[0] * (BINS - 1)),)
