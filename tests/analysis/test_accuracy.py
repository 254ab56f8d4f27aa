"""Accuracies of exits on four hand-written samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shallowdeep.analysis.accuracy import at_chance, correct_so_far, correctness, cumulative_accuracy, exit_accuracies
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


@pytest.mark.parametrize(("right", "warned"), [(50, True), (62, True), (63, False), (100, False), (0, True)])
def test_a_network_at_chance_is_told(right: int, warned: bool) -> None:
    """Of 100 samples in two equal classes 63 right are the fewest that chance gives in less than 1 %."""
    labels = np.repeat(np.array([0, 1], np.int32), 50)
    answers = np.where(np.arange(100) < right, labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[answers][None]
    warning = at_chance(ExitPredictions(logits, labels, np.array([1.0])), "test")
    assert (warning is not None) == warned
    if warning is not None:
        assert f"right about {right:.1f} % of test, not clearly better than always answering" in warning


def test_one_class_alone_teaches_nothing() -> None:
    """Where all labels are equal, being right always is no better than chance."""
    pred = ExitPredictions(np.ones((1, 3, 2), np.float32), np.zeros(3, np.int32), np.array([1.0]))
    assert at_chance(pred, "tune") is not None
