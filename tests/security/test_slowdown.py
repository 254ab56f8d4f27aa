"""Efficacy, and what slowed-down inputs cost under a policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.synthetic import pool

from shallowdeep.audits.slowdown_audit import AttackedPolicy
from shallowdeep.bench.latency import Latency
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.errors import DataError
from shallowdeep.exits.policy import shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.security.slowdown import (
    efficacy,
    jittered,
    limited,
    published_policies,
    sizing,
    slowdown_block,
    threshold_within,
)

COSTS = [0.25, 0.5, 1.0]


def test_efficacy_is_the_area_by_trapezoids() -> None:
    """All at the first exit: .125 + .75; all at the end: .25; half and half at the first and the last."""
    assert efficacy([0, 0, 0], COSTS) == pytest.approx(0.25 / 2 + 0.75)
    assert efficacy([2, 2], COSTS) == pytest.approx(0.5 / 2)
    assert efficacy([0, 2], COSTS) == pytest.approx(0.25 * 0.25 + 0.25 * 0.5 + 0.5 * 0.75)
    assert efficacy([0, 1], [0.5, 2.0]) == efficacy([0, 1], [0.25, 1.0])
    with pytest.raises(DataError, match="at least one sample"):
        efficacy([], COSTS)


def test_published_thresholds_are_the_cheapest_within_the_loss() -> None:
    """On tune itself they keep to it, and the bolder one is lower."""
    tune = pool(2000)
    final = float((np.asarray(tune.logits)[-1].argmax(-1) == tune.labels).mean())
    for drop in (0.05, 0.15):
        block = slowdown_block(shared_threshold(threshold_within(tune, drop), tune.exits), tune)
        assert block.accuracy >= (1 - drop) * final - 1e-9
        assert block.relative_cost < 1
    assert threshold_within(tune, 0.15) < threshold_within(tune, 0.05)
    assert list(published_policies(tune)) == ["at most 5% of the accuracy lost", "at most 15% of the accuracy lost"]


def flat(pred: ExitPredictions) -> ExitPredictions:
    """The same answers, hardly decided."""
    return ExitPredictions(np.asarray(pred.logits) * np.float32(0.05), pred.labels, pred.costs)


def test_undecided_inputs_cost_everything_and_a_cost_limit_bounds_them() -> None:
    """Worst cost is the whole network's with all heads; a limit caps it."""
    pred = pool(500)
    policy = shared_threshold(0.8, pred.exits)
    clean, slow = slowdown_block(policy, pred), slowdown_block(policy, flat(pred))
    assert slow.efficacy < clean.efficacy
    assert slow.relative_cost == pytest.approx(float(pred.costs[-1]))
    assert slow.worst_relative_cost == pytest.approx(float(pred.costs[-1]))
    assert slow.exit_shares == (*[0.0] * 5, 1.0)
    limited = shared_threshold(0.8, pred.exits, max_relative_cost=0.5)
    assert slowdown_block(limited, flat(pred)).worst_relative_cost <= 0.5


def test_jitter_moves_thresholds_within_its_spread() -> None:
    """Exits lie between those of the lowest and of the highest threshold, and not all of them are the same."""
    pred = pool(500)
    _, exits, _ = jittered(shared_threshold(0.7, pred.exits), pred, spread=0.2, seed=0)
    low, high = (np.asarray(jittered(shared_threshold(t, pred.exits), pred, spread=0.0, seed=0)[1]) for t in (0.5, 0.9))
    assert ((low <= exits) & (exits <= high)).all()
    assert (exits != low).any()
    assert (exits != high).any()
    again = jittered(shared_threshold(0.7, pred.exits), pred, spread=0.2, seed=0)[1]
    np.testing.assert_array_equal(exits, again)


def test_the_cost_limit_is_the_first_exit_beyond_the_mean_cost() -> None:
    """Never looser than the policy's own, and there even where everything stops at the end."""
    pred = pool(500)
    policy = shared_threshold(0.7, pred.exits)
    mean = slowdown_block(policy, pred).relative_cost
    cap = limited(policy, pred).max_relative_cost
    assert cap == min(float(cost) for cost in pred.costs if cost >= mean)
    assert limited(replace(policy, max_relative_cost=0.17), pred).max_relative_cost in {0.16, 0.17}
    never = shared_threshold(1.1, pred.exits)
    assert limited(never, pred).max_relative_cost == pytest.approx(float(pred.costs[-1]))


def test_what_to_size_for_follows_the_policy() -> None:
    """The whole network with all heads; less where exits are off, or costs limited."""
    pred = pool(500)
    policy = shared_threshold(0.7, pred.exits)
    slow = slowdown_block(policy, flat(pred))
    batches = tuple(
        Latency(size, 1.0, ratio, PairedRatio(ratio, ratio, ratio)) for size, ratio in ((1, 1.4), (64, 2.2))
    )
    block = AttackedPolicy(
        name="shared", thresholds=policy.thresholds, clean=slowdown_block(policy, pred), per_sample=slow,
        universal=slow, latency=batches,
    )  # fmt: skip
    said = sizing(policy, block, pred.costs)
    assert said.startswith("Size capacity and time limits for 1.01 times the backbone's cost")
    assert "to 1.01, and a batch of 64 took 2.2 times as long" in said
    off = replace(policy, thresholds=(None,) * 5)
    assert "for 1.00 times" in sizing(off, block, pred.costs)
    capped = replace(policy, max_relative_cost=0.5)
    assert "for 0.46 times" in sizing(capped, block, pred.costs)
