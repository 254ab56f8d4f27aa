"""What slowed-down inputs cost under a policy, and what defences restore: pure functions of predictions.

Source of efficacy: Hong et al., "A panda? No, it's a sloth", ICLR 2021.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.audits.slowdown_audit import AttackedPolicy, SlowdownFigures
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import cheapest_within, threshold_curve

_ROUNDING = 1e-9  # of means of costs

LEAST_DROP = 0.05
DROPS = (LEAST_DROP, 0.15)
"""Relative losses of accuracy that published thresholds are chosen for."""


def efficacy(exits: ArrayLike, costs: ArrayLike) -> float:
    """Return how much early exits save, in [0, 1]: the area under the share of samples that have left, over cost.

    Args:
        exits: (N,) integers, where each sample stopped.
        costs: (K,) of each exit, rising; the last is where everything that is left stops.

    Returns:
        By trapezoids from (0, 0) to (1, 1), as published: near 1 where all leave early; where all leave at the end,
        half of what the last stage costs. One minus it understates the mean cost.

    Raises:
        DataError: there is no sample.
    """
    places, cost = np.asarray(exits), np.asarray(costs, dtype=np.float64)
    if not len(places):
        raise DataError("Expected at least one sample to measure efficacy on, got none")
    left = np.cumsum(np.bincount(places, minlength=len(cost))) / len(places)
    return float(np.trapezoid(np.append(0.0, left), np.append(0.0, cost / cost[-1])))


def threshold_within(tune: ExitPredictions, drop: float) -> float:
    """Return the cheapest threshold whose accuracy on ``tune`` is at most a share ``drop`` below the final exit's.

    Raises:
        ConfigurationError: no threshold keeps to it.
    """
    final = float(correctness(tune)[-1].mean())
    threshold = cheapest_within(threshold_curve(tune), drop * final, final)
    if threshold is None:
        raise ConfigurationError(f"Expected a threshold that loses at most {drop:.0%} of the accuracy, found none")
    return threshold


def jittered(
    policy: Policy, pred: ExitPredictions, *, spread: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return labels, exits and costs, each (N,), where every sample meets thresholds moved by chance.

    Args:
        policy: whose thresholds are moved, by one number for each sample in [-spread, spread].
        pred: predictions of all exits.
        spread: of the moves.
        seed: of them.
    """
    steps = np.linspace(-spread, spread, 9)
    taken = np.random.default_rng(seed).integers(len(steps), size=pred.samples)
    moved = [outcome_of(_moved(policy, float(step)), pred) for step in steps]
    rows = np.arange(pred.samples)
    labels, exits, costs = (
        np.stack([np.asarray(getattr(one, name)) for one in moved])[taken, rows]
        for name in ("labels", "exits", "costs")
    )
    return labels, exits, costs


def _moved(policy: Policy, step: float) -> Policy:
    """The policy with its thresholds moved, those of switched-off exits left alone."""
    thresholds = tuple(None if value is None else max(0.0, value + step) for value in policy.thresholds)
    return replace(policy, thresholds=thresholds)


def slowdown_block(
    policy: Policy,
    pred: ExitPredictions,
    *,
    jitter: float = 0.0,
    seed: int = 0,
) -> SlowdownFigures:
    """Return what inputs cost under a policy.

    Args:
        policy: in force.
        pred: predictions of all exits on the inputs, with their true labels.
        jitter: move thresholds by chance, see `jittered`.
        seed: of that.
    """
    if jitter:
        labels, exits, costs = jittered(policy, pred, spread=jitter, seed=seed)
    else:
        outcome = outcome_of(policy, pred)
        labels, exits, costs = outcome.labels, outcome.exits, outcome.costs
    used = pred.costs.in_use(policy.in_use)
    places = np.searchsorted(policy.in_use, exits)
    return SlowdownFigures(
        samples=pred.samples,
        accuracy=float((labels == to_numpy(pred.labels)).mean()),
        efficacy=efficacy(places, used),
        relative_cost=float(costs.mean()),
        worst_relative_cost=float(costs.max()),
        exit_shares=tuple((np.bincount(exits, minlength=pred.exits) / pred.samples).tolist()),
    )


def policy_name(drop: float) -> str:
    """Return the name of the published policy that may lose a share ``drop`` of the accuracy."""
    return f"at most {drop:.0%} of the accuracy lost"


def published_policies(tune: ExitPredictions) -> dict[str, Policy]:
    """Return one shared threshold for each of `DROPS`, chosen on ``tune``, by name."""
    return {policy_name(drop): shared_threshold(threshold_within(tune, drop), tune.exits) for drop in DROPS}


def limited(policy: Policy, clean: ExitPredictions) -> Policy:
    """Return the policy under a cost limit: that of the first exit in use beyond the mean cost of clean images.

    A limit that the policy has and that is lower stays.
    """
    used = clean.costs.in_use(policy.in_use)
    mean = outcome_of(policy, clean).relative_cost
    limit = next((float(cost) for cost in used if cost >= mean - _ROUNDING), float(used[-1]))
    own = policy.max_relative_cost
    return replace(policy, max_relative_cost=limit if own is None else min(limit, own))


def sizing(policy: Policy, attacked: AttackedPolicy, costs: CostModel) -> str:
    """Return what a server has to be sized for, in words.

    Args:
        policy: in force.
        attacked: the same policy under attack.
        costs: of the E exits.
    """
    used = costs.in_use(policy.in_use)
    worst = float(used[policy.last_within(used.tolist()) - 1])
    timed = ""
    if attacked.latency:
        slowest = max(attacked.latency, key=lambda batch: batch.ratio.median)
        timed = f", and a batch of {slowest.batch_size} took {slowest.ratio.median:.1f} times as long"
    return (
        f"Size capacity and time limits for {worst:.2f} times the backbone's cost on every input. Under attack the "
        f"mean cost went from {attacked.clean.relative_cost:.2f} to {attacked.per_sample.relative_cost:.2f}{timed}. "
        "What early exits save is a bonus; watch the exits taken for drift (ExitGuard)."
    )
