"""What a policy amounts to, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shallowdeep.exits.arrays import Array
from shallowdeep.exits.outcome import outcome_of, summarize
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_outcome_by_hand(asarray: Callable[..., Array]) -> None:
    """Four samples, three stop at the first exit and two of them are right; the last stops at the third, wrong."""
    logits = np.zeros((3, 4, 2), np.float32)
    logits[:, :, 1] = np.array([[3, 3, -3, -0.1], [1, 1, 1, 1], [1, 1, 1, -1]])  # positive: class 1
    pred = ExitPredictions(asarray(logits), asarray(np.ones(4, np.int64)), asarray(np.array([0.2, 0.5, 1.0])))
    policy = Policy((0.9, 0.9))
    got = outcome_of(policy, pred)
    assert (got.exits.tolist(), got.labels.tolist()) == ([0, 0, 0, 2], [1, 1, 0, 0])
    assert got.accuracy == 0.5
    assert got.relative_cost == pytest.approx((3 * 0.2 + 1.0) / 4)
    assert got.exit_shares(3) == (0.75, 0.0, 0.25)
    summary = summarize(policy, pred)
    assert (summary.samples, summary.accuracy, summary.final_accuracy, summary.accuracy_lost) == (4, 0.5, 0.75, 0.25)
    assert (summary.disagreement, summary.forced, summary.exit_shares) == (0.25, 0.0, (0.75, 0.0, 0.25))
