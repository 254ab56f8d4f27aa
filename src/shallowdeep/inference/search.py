"""Policies worth having: the front between a reward and cost, found on ``tune`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.costs import costs_in_use
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import scan_exits
from shallowdeep.inference.following import Followed, follow
from shallowdeep.inference.stopping_rules import price_path

FOLDS = 5
IDLE_SHARE = 0.005  # an exit that fewer leave by is not worth a look at every sample
_QUANTILES = 100  # shared thresholds, steps of one per cent of the confidences seen
_ROUNDING = 1e-12  # means of N counts differ in their last bits from limits such as 0.25

Answers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy and what it does on ``tune``.

    Args:
        policy: thresholds fitted to all of ``tune``.
        answers: (N,) integers, what it answers there; where thresholds were fitted, by thresholds fitted to other
            samples, so that a mean over them does not flatter.
        relative_cost: mean over ``tune`` of ``policy`` itself, so that a budget is kept there.
        fitted: whether each exit has a threshold of its own.
    """

    policy: Policy
    answers: Answers
    relative_cost: float
    fitted: bool = False


def candidates(
    tune: ExitPredictions, head_costs: Sequence[float], base: Policy, targets: Sequence[Answers]
) -> list[Candidate]:
    """Return policies to choose from: no early exit, one threshold for all exits, and one for each.

    Temperatures go with thresholds of their own only. One threshold for all exits trades worse with them (on two
    ResNet-56s for CIFAR-10 by a quarter of a point at the same cost, cross-validated on ``tune``), since they hold back
    late exits, the most overconfident ones; thresholds of their own trade as well with as without.

    Args:
        tune: predictions of all exits on the split to choose on.
        head_costs: (E-1,) relative cost of each internal classifier alone.
        base: signal, fallback, temperatures and cost limit; its thresholds do not matter.
        targets: (N,) integers each: the answers that per-exit thresholds are to give as often as they can, such as
            the labels, or the final exit's answers.

    Returns:
        In no order; none twice.

    Raises:
        ConfigurationError: not even the first exit is within the cost limit.
    """
    found = [_candidate(safest(base, tune, head_costs), tune, head_costs)]
    found += [_candidate(policy, tune, head_costs) for policy in _shared(replace(base, temperatures=()), tune)]
    for target in targets:
        found += _fitted(base, tune, head_costs, target)
    return list({candidate.policy.thresholds: candidate for candidate in reversed(found)}.values())[::-1]


def safest(base: Policy, tune: ExitPredictions, head_costs: Sequence[float]) -> Policy:
    """Return the policy that never exits early: the backbone; under a cost limit, as far as that allows."""
    backbone = float(costs_in_use(to_numpy(tune.costs), head_costs, [tune.exits - 1])[0])
    within = base.max_relative_cost is None or backbone <= base.max_relative_cost
    return replace(base, thresholds=(None if within else NEVER,) * (tune.exits - 1))


def pareto(values: ArrayLike, costs: ArrayLike) -> list[int]:
    """Return the indices of what nothing else beats or equals in both, from the dearest to the cheapest.

    Args:
        values: (M,) larger = better.
        costs: (M,) smaller = better.

    Returns:
        Costs and values fall along it strictly.
    """
    worth, cost = np.asarray(values, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    front: list[int] = []
    best = -np.inf
    for index in np.lexsort((-worth, cost)):
        if worth[index] > best:
            front.append(int(index))
            best = worth[index]
    return front[::-1]


def pareto_front(found: Sequence[Candidate], target: Answers) -> list[Candidate]:
    """Return the candidates that no other beats in agreement with ``target`` (N,) and cost, dearest first."""
    values = [float((candidate.answers == target).mean()) for candidate in found]
    return [found[index] for index in pareto(values, [candidate.relative_cost for candidate in found])]


def best_within_budget(front: Sequence[Candidate], budget: float) -> Candidate:
    """Return the best of a front that costs at most ``budget`` on ``tune``.

    Args:
        front: dearest and best first.
        budget: highest mean relative cost.

    Raises:
        ConfigurationError: everything costs more.
    """
    for candidate in front:
        if candidate.relative_cost <= budget + _ROUNDING:
            return candidate
    raise ConfigurationError(
        f"Expected a budget of at least {front[-1].relative_cost:.4f}, what leaving at the first exit costs, "
        f"got {budget}"
    )


def _candidate(policy: Policy, tune: ExitPredictions, head_costs: Sequence[float]) -> Candidate:
    """Return a policy that was not fitted to labels."""
    followed = follow(policy, tune, head_costs)
    return Candidate(policy, followed.labels, followed.relative_cost)


def _shared(base: Policy, tune: ExitPredictions) -> list[Policy]:
    """Return one threshold for all exits: 0, and quantiles of the early exits' signal."""
    confidence, _ = _scan(base, tune)
    early = confidence[:-1]
    if early.size == 0:
        return []
    steps = np.linspace(0, 1, _QUANTILES + 1)
    values = np.unique(np.append(np.quantile(early, steps, method="inverted_cdf"), 0.0)).tolist()
    return [replace(base, thresholds=shared_threshold(value, tune.exits).thresholds) for value in values]


def _fitted(base: Policy, tune: ExitPredictions, head_costs: Sequence[float], target: Answers) -> list[Candidate]:
    """Return per-exit thresholds for every price on cost, their answers by cross-validation."""
    confidence, answers = _scan(base, tune)
    if tune.exits == 1 or tune.samples < FOLDS:
        return []
    rewards, costs = answers == target, to_numpy(tune.costs)
    order = seeded_order(tune.samples, 0)
    rows = price_path(confidence, rewards, costs)
    judged = np.empty((len(rows), tune.samples), dtype=answers.dtype)
    for fold in range(FOLDS):
        out, kept = order[fold::FOLDS], np.setdiff1d(order, order[fold::FOLDS])
        part = ExitPredictions(to_numpy(tune.logits)[:, out], to_numpy(tune.labels)[out], costs)
        for place, row in enumerate(price_path(confidence[:, kept], rewards[:, kept], costs)):
            judged[place, out] = follow(_with(base, row), part, head_costs).labels
    removable = np.array_equal(confidence[-1], scan_exits(base.signal, _tempered(base, tune)[-1:])[0][-1])
    found = []
    for row, honest in zip(rows, judged, strict=True):
        policy = _with(base, row)
        followed = follow(policy, tune, head_costs)
        if removable:  # the signal at an exit does not depend on the exits before it
            policy = _without_idle_exits(policy, followed)
            followed = follow(policy, tune, head_costs)
        found.append(Candidate(policy, honest, followed.relative_cost, fitted=True))
    return found


def _without_idle_exits(policy: Policy, followed: Followed) -> Policy:
    """Return the policy with exits switched off where next to nobody leaves: their heads need not be run."""
    shares = followed.exit_shares(policy.exits)
    kept = (None if share < IDLE_SHARE else value for share, value in zip(shares, policy.thresholds, strict=False))
    return replace(policy, thresholds=tuple(kept))


def _with(base: Policy, thresholds: NDArray[np.float64]) -> Policy:
    """Return ``base`` with other thresholds (E-1,)."""
    return replace(base, thresholds=tuple(thresholds.tolist()))


def _tempered(base: Policy, tune: ExitPredictions) -> NDArray[Any]:
    """Return the logits (E, N, C), divided by the temperatures as `decide` does."""
    logits = to_numpy(tune.logits)
    return np.stack([logits[k] / base.temperature_at(k) for k in range(tune.exits)])


def _scan(base: Policy, tune: ExitPredictions) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the signal (E, N) and the answers (E, N) at every exit, all exits in use."""
    confidence, scores = scan_exits(base.signal, _tempered(base, tune))
    return confidence, scores.argmax(axis=-1)
