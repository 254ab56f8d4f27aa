"""What exits cost, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.costs import CostModel

MODEL = CostModel((0.21, 0.43, 1.05), (0.01, 0.02))


def test_costs_without_the_heads_that_are_not_run() -> None:
    """Heads of exits that are switched off cost nothing, those passed on the way do."""
    assert MODEL.in_use([0, 1, 2]) == pytest.approx([0.21, 0.43, 1.05])
    assert MODEL.in_use([1, 2]) == pytest.approx([0.42, 1.04])
    assert MODEL.in_use([2]) == pytest.approx([1.02])
    with pytest.raises(ConfigurationError, match=r"Expected exits in \[0, 3\), got \[3\]"):
        MODEL.in_use([3])


def test_it_reads_like_a_sequence_of_numbers() -> None:
    """Costs can be looked at, walked over, and turned into an array."""
    assert (len(MODEL), MODEL[-1], list(MODEL)) == (3, 1.05, [0.21, 0.43, 1.05])
    np.testing.assert_array_equal(np.asarray(MODEL), np.array([0.21, 0.43, 1.05]), strict=True)
    assert np.asarray(MODEL, dtype=np.float32).dtype == np.float32


def test_heads_that_are_not_known_save_nothing() -> None:
    """Of plain numbers switching an exit off changes no cost; a cost model is taken as it is."""
    plain = CostModel.of(np.array([0.3, 1.0], np.float32))
    assert plain.heads == (0.0,)
    assert plain.in_use([1]) == pytest.approx([1.0])
    assert CostModel.of(MODEL) is MODEL


def test_another_number_of_heads_is_refused() -> None:
    """One for each exit but the last."""
    with pytest.raises(DataError, match="Expected 2 head costs for 3 exits, got 1"):
        CostModel((0.1, 0.5, 1.0), (0.01,))
    with pytest.raises(DataError, match=r"Expected floating costs of shape \(E,\)"):
        CostModel.of(np.ones((2, 2)))
