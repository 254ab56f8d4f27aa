"""The policy that calibration can be expected to find, without ``certify``."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.calibration.calibrate import Search, calibrate_predictions
from shallowdeep.calibration.expected_policy import expected_policy
from shallowdeep.calibration.objective import Objective
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.predictions import ExitPredictions

COSTS = CostModel((0.3, 0.6, 1.1), (0.05, 0.05))


def drawn(samples: int, seed: int) -> ExitPredictions:
    """Three exits, each surer and more often right than the one before."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(4, size=samples)
    logits = generator.normal(size=(3, samples, 4)).astype(np.float32)
    for exit_, strength in enumerate((3.0, 4.0, 5.0)):
        logits[exit_, np.arange(samples), labels] += strength
    return ExitPredictions(logits, labels, COSTS)


def test_calibration_finds_about_the_same() -> None:
    """On ``certify`` of the size that was named: costs within a tenth."""
    tune, certify = drawn(1500, 0), drawn(3000, 1)
    objective = Objective(max_accuracy_loss=0.02)
    expected = expected_policy(objective, tune, Search(), samples=3000)
    assert expected is not None
    found = calibrate_predictions(objective, tune, certify).policy
    costs = [outcome_of(policy, certify).relative_cost for policy in (expected, found)]
    assert costs[0] < 0.9
    assert costs[0] == pytest.approx(costs[1], abs=0.1)


@pytest.mark.parametrize(
    "objective", [Objective(max_accuracy_loss=0.02), Objective(threshold=0.9), Objective(budget=0.8)]
)
def test_exits_that_are_not_searched_are_off(objective: Objective) -> None:
    """Whatever is asked for."""
    policy = expected_policy(objective, drawn(1500, 0), Search((1,)), samples=3000)
    assert policy is not None
    assert policy.in_use == (1, 2)


def test_what_exits_cannot_do_is_none() -> None:
    """A budget below the first exit that is searched, and a loss that few samples can promise."""
    tune = drawn(1500, 0)
    assert expected_policy(Objective(budget=0.4), tune, Search((1,)), samples=3000) is None
    strict = expected_policy(Objective(max_accuracy_loss=0.01), tune, Search((0,)), samples=10)
    assert strict is not None
    assert strict.in_use == (2,)


def test_times_decide_what_is_cheap() -> None:
    """A head that takes long is left to fewer samples than its multiply-adds would have it."""
    tune, certify = drawn(1500, 0), drawn(3000, 1)
    objective = Objective(max_accuracy_loss=0.02)
    dear = CostModel((0.3, 1.4, 1.9), (0.05, 0.85))  # the second head takes as long as the network
    shares = []
    for times in (None, dear):
        policy = calibrate_predictions(objective, tune, certify, search=Search(None, times)).policy
        outcome = outcome_of(policy, certify.costing(dear))
        shares.append(outcome.relative_cost)
    assert shares[1] < shares[0]
