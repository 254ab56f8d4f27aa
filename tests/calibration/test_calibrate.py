"""From predictions to a policy: what is fitted where, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.synthetic import pool

from shallowdeep.calibration.calibrate import calibrate_predictions, check_sizes
from shallowdeep.calibration.objective import Objective
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.outcome import summarize
from shallowdeep.exits.predictions import ExitPredictions

TUNE, CERTIFY = pool(800, seed=1), pool(1600, seed=2)


def test_a_budget_is_chosen_on_tune_alone() -> None:
    """Whatever certify holds, the policy is the same."""
    shuffled = replace(CERTIFY, labels=np.roll(np.asarray(CERTIFY.labels), 1))
    first, second = (calibrate_predictions(Objective(budget=0.5), TUNE, part) for part in (CERTIFY, shuffled))
    assert first.policy == second.policy
    assert summarize(first.policy, TUNE).relative_cost <= 0.5
    assert first.policy.promise is None


def test_temperatures_do_not_raise_the_label_loss() -> None:
    """Each is fitted to tune's labels; the paper's rule has none."""
    fit = calibrate_predictions(Objective(budget=0.5), TUNE, CERTIFY).temperatures
    assert fit is not None
    assert len(fit.values) == TUNE.exits
    assert all(
        after <= before + 1e-9 for before, after in zip(fit.label_loss_before, fit.label_loss_after, strict=True)
    )
    assert calibrate_predictions(Objective(threshold=0.8), TUNE, CERTIFY).temperatures is None


def test_a_promise_depends_on_certify() -> None:
    """Labels at random lose everything: no sample may leave early then."""
    objective = Objective(max_accuracy_loss=0.03)
    kept = calibrate_predictions(objective, TUNE, CERTIFY).policy
    assert kept.promise is not None
    assert summarize(kept, TUNE).relative_cost < 0.95
    contrary = np.asarray(CERTIFY.logits).copy()
    contrary[:-1] = np.roll(contrary[:-1], 1, axis=-1)  # early exits answer another class, as surely
    refused = calibrate_predictions(objective, TUNE, replace(CERTIFY, logits=contrary)).policy
    assert refused.in_use == (5,)


def test_two_promises_share_certify() -> None:
    """Each is tested on a half, so both need twice the images."""
    objective = Objective(max_accuracy_loss=0.03, abstain=0.3)
    policy = calibrate_predictions(objective, TUNE, CERTIFY).policy
    assert policy.promise is not None
    assert policy.abstention is not None
    assert policy.abstention.promise is not None
    assert (policy.promise.samples, policy.abstention.promise.samples) == (800, 800)
    with pytest.raises(ConfigurationError, match="certify"):
        check_sizes(objective, 40)
    check_sizes(Objective(budget=0.5), 0)


def test_predictions_of_two_networks_are_refused() -> None:
    """Other exits, other classes or other weights; and a single exit has nothing to choose."""
    objective = Objective(budget=0.5)
    for other in (pool(100, classes=5), replace(CERTIFY, weights="b")):
        with pytest.raises(ConfigurationError, match="of one network, got two networks'"):
            calibrate_predictions(objective, replace(TUNE, weights="a"), other)
    single = ExitPredictions(np.asarray(TUNE.logits)[-1:], np.asarray(TUNE.labels), CostModel((1.0,)))
    with pytest.raises(ConfigurationError, match="got a single exit's"):
        calibrate_predictions(objective, single, single)
