"""Accuracies of exits on four hand-written samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shallowdeep.analysis.accuracy import correct_so_far, correctness, cumulative_accuracy, exit_accuracies
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.predictions import ExitPredictions

RIGHT = [[1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]]  # (E, N)


def predictions(asarray: Callable[..., Array]) -> ExitPredictions:
    """Three exits, four samples of class 1 of 2, right where RIGHT says."""
    logits = np.stack([1 - np.array(RIGHT), np.array(RIGHT)], axis=-1).astype(np.float32)
    return ExitPredictions(asarray(logits), asarray(np.ones(4, np.int32)), asarray(np.array([0.2, 0.5, 1.0])))


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_shares_by_hand(asarray: Callable[..., Array]) -> None:
    """Exits are right on 2, 2 and 2 of 4; some exit up to k on 2, 3 and 3."""
    pred = predictions(asarray)
    assert to_numpy(correctness(pred)).tolist() == np.array(RIGHT, dtype=bool).tolist()
    assert to_numpy(exit_accuracies(pred)).tolist() == [0.5, 0.5, 0.5]
    assert to_numpy(correct_so_far(pred)).tolist() == [0.5, 0.75, 0.75]
    assert cumulative_accuracy(pred) == 0.75
