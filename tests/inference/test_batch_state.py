"""Compaction keeps exactly those who stay, and copies few."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from shallowdeep.inference.batch_state import keep, split


def test_the_last_fill_the_gaps() -> None:
    """Of five, the second leaves: the fifth takes its place, the others are not moved."""
    staying, gone = split(np.asarray([False, True, False, False, False]), 1)
    assert staying.tolist() == [0, 4, 2, 3]
    assert gone.tolist() == [1]
    rows = np.asarray([[0.0], [1.0], [2.0], [3.0], [4.0]])
    kept = keep(rows, staying)
    assert kept.tolist() == [[0.0], [4.0], [2.0], [3.0]]
    assert np.shares_memory(kept, rows)


@given(st.lists(st.booleans(), min_size=1), st.data())
def test_those_who_stay_are_kept_once_each(sure: list[bool], data: st.DataObject) -> None:
    """Two departures in a row, compacted at once or one by one, leave the same samples."""
    first = np.asarray(sure)
    staying, gone = split(first, int(first.sum()))
    assert sorted([*staying.tolist(), *gone.tolist()]) == list(range(len(sure)))
    assert not first[staying].any()
    second = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(staying), max_size=len(staying))), dtype=bool)
    further, _ = split(second, int(second.sum()))
    rows = np.arange(len(sure))
    at_once = keep(rows.copy(), staying[further])
    assert at_once.tolist() == keep(keep(rows.copy(), staying), further).tolist()
    assert sorted(at_once.tolist()) == sorted(rows[staying][~second].tolist())


def test_tensors_are_gathered_in_order() -> None:
    """A tensor's samples keep their order, and the tensor itself its values."""
    rows = torch.arange(4.0)
    staying, gone = split(torch.tensor([True, False, True, False]), 2)
    assert keep(rows, staying).tolist() == [1.0, 3.0]
    assert gone.tolist() == [0, 2]
    assert rows.tolist() == [0.0, 1.0, 2.0, 3.0]
