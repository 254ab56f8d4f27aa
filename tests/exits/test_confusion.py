"""Confusion by hand, exit by exit, and normalised for any exits in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.confusion import ConfusionScan, ConfusionStatistics, confusion, distances

PROBABILITIES = np.array([[[0.5, 0.5]], [[0.9, 0.1]], [[0.2, 0.8]]])  # (E=3, N=1, C=2)
LOGITS = np.log(PROBABILITIES).astype(np.float32)


def random_logits(exits: int = 5, samples: int = 40, classes: int = 4) -> Any:  # noqa: ANN401 - an array
    """Normal logits."""
    return np.random.default_rng(0).normal(size=(exits, samples, classes)).astype(np.float32)


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_confusion_by_hand(asarray: Callable[..., Array]) -> None:
    """|.5-.2|+|.5-.8| from the first exit and |.9-.2|+|.1-.8| from the second: .6 + 1.4."""
    assert to_numpy(confusion(asarray(LOGITS))) == pytest.approx([2.0])
    assert to_numpy(distances(asarray(LOGITS), 2)).ravel() == pytest.approx([0.6, 1.4])


def test_one_exit_is_never_confused() -> None:
    """There is nothing to disagree with."""
    assert confusion(LOGITS[:1]).tolist() == [0.0]
    assert distances(LOGITS, 0).shape == (0, 1)
    with pytest.raises(DataError, match=r"\(exits, samples, classes\)"):
        distances(LOGITS[0], 0)


def test_a_scan_sees_the_exits_in_use_and_the_samples_that_stay() -> None:
    """At each exit in use it is the sum over those before; kept samples go on with their own past."""
    logits, in_use = random_logits(), [0, 2, 4]
    scan = ConfusionScan()
    assert scan.step(logits[0]) is None
    second = scan.step(logits[2])
    assert second == pytest.approx(confusion(logits[[0, 2]]))
    staying = np.array([7, 3, 30])
    scan.keep(staying)
    third = scan.step(logits[4][staying])
    assert third == pytest.approx(confusion(logits[in_use])[staying])


@pytest.mark.parametrize("in_use", [(0, 1, 2, 3, 4), (1, 3, 4), (0, 4), (4,)])
def test_statistics_of_pairs_give_those_of_any_exits_in_use(in_use: tuple[int, ...]) -> None:
    """Mean and standard deviation over the batches, as computed from confusion itself."""
    logits = random_logits()
    statistics = ConfusionStatistics.over([logits[:, :13], logits[:, 13:]])
    assert (statistics.samples, statistics.exits) == (40, 5)
    for place, exit_ in enumerate(in_use):
        values = confusion(logits[list(in_use[: place + 1])]).astype(np.float64)
        mean, spread = statistics.at(exit_, in_use)
        assert mean == pytest.approx(values.mean(), abs=1e-6)
        assert spread == pytest.approx(values.std() if place else 1.0, rel=1e-4)
        scores = statistics.normalised(values, exit_, in_use)
        assert scores.mean() == pytest.approx(0, abs=1e-5)


def test_exits_that_never_disagree_keep_scores_finite() -> None:
    """A standard deviation of 0 is taken as 1."""
    same = np.repeat(LOGITS[:1], 3, axis=0)
    assert ConfusionStatistics.over([same]).at(2, range(3)) == (0.0, 1.0)


def test_statistics_survive_json() -> None:
    """Back from a document they are the same; a damaged one is refused."""
    statistics = ConfusionStatistics.over([random_logits()])
    again = ConfusionStatistics.from_dict(statistics.to_dict(), "here")
    assert again.at(3, range(5)) == statistics.at(3, range(5))
    document = statistics.to_dict()
    for wrong in ({}, {**document, "means": document["means"][:-1]}, {**document, "means": [[1.0]] * 5}):
        with pytest.raises(CheckpointError, match="confusion statistics in here"):
            ConfusionStatistics.from_dict(wrong, "here")
    with pytest.raises(DataError, match="at least one sample"):
        ConfusionStatistics.over([])
