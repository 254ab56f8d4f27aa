"""Policies worth having: the front between a reward and cost, found on ``tune`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.calibration.ensemble_fit import fit_ensemble
from shallowdeep.calibration.threshold_search import price_path
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.outcome import Outcome, outcome_of
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import ENSEMBLE, PATIENCE, scan_exits

FOLDS = 5
IDLE_SHARE = 0.005  # an exit that fewer leave by is not worth a look at every sample
_QUANTILES = 100  # shared thresholds, steps of one per cent of the confidences seen
_ROUNDING = 1e-12  # means of N counts differ in their last bits from limits such as 0.25

Labels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy and what it does on ``tune``.

    Args:
        policy: thresholds and ensemble fitted to all of ``tune``.
        answers: (N,) integers, what it answers there, with thresholds and ensemble that were fitted to other samples,
            so that a mean over them does not flatter.
        relative_cost: mean over ``tune`` of ``policy`` itself, so that a budget is kept there.
        fitted: whether each exit has a threshold of its own.
    """

    policy: Policy
    answers: Labels
    relative_cost: float
    fitted: bool = False


def candidates(
    tune: ExitPredictions,
    base: Policy,
    targets: Sequence[Labels],
) -> list[Candidate]:
    """Return policies to choose from: no early exit, one threshold for all exits, and one for each.

    Temperatures go with thresholds of their own only. One threshold for all exits trades worse with them (on two
    ResNet-56s for CIFAR-10 by a quarter of a point at the same cost, cross-validated on ``tune``), since they hold back
    late exits, the most overconfident ones; thresholds of their own trade as well with as without.

    Args:
        tune: predictions of all exits on the split to choose on.
        base: signal, fallback, temperatures, ensemble and cost limit; its thresholds do not matter.
        targets: (N,) integers each: the answers that per-exit thresholds are to give as often as they can, such as
            the labels, or the final exit's answers.

    Returns:
        In no order; none twice.

    Raises:
        ConfigurationError: not even the first exit is within the cost limit.
    """
    folds = _folds(base, tune)
    found = [_candidate(safest(base, tune), tune, folds)]
    found += [_candidate(policy, tune, folds) for policy in _shared(replace(base, temperatures=()), tune)]
    for target in targets:
        found += _fitted(base, tune, target, folds=folds)
    return list({candidate.policy.thresholds: candidate for candidate in reversed(found)}.values())[::-1]


def safest(base: Policy, tune: ExitPredictions) -> Policy:
    """Return the policy that never exits early: the backbone; under a cost limit, as far as that allows."""
    backbone = float(tune.costs.in_use([tune.exits - 1])[0])
    within = base.max_relative_cost is None or backbone <= base.max_relative_cost
    if within:
        return replace(base, thresholds=(None,) * (tune.exits - 1), ensemble=None)
    return replace(base, thresholds=(NEVER,) * (tune.exits - 1))


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


def pareto_front(found: Sequence[Candidate], target: Labels) -> list[Candidate]:
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


@dataclass(frozen=True, eq=False)
class _Fold:
    """A part of ``tune`` that is scored by what was fitted to the rest.

    Args:
        out: indices of the part.
        part: its predictions.
        rest: predictions of the others.
        kept: their indices.
        ensemble: fitted to them; None where the policy has none.
    """

    out: NDArray[Any]
    part: ExitPredictions
    kept: NDArray[Any]
    rest: ExitPredictions
    ensemble: Ensemble | None


def _folds(base: Policy, tune: ExitPredictions) -> list[_Fold]:
    """Return FOLDS parts of ``tune``; none where there are not as many samples."""
    if tune.samples < FOLDS:
        return []
    order = seeded_order(tune.samples, 0)
    labels = to_numpy(tune.labels)
    folds = []
    for fold in range(FOLDS):
        out, kept = order[fold::FOLDS], np.setdiff1d(order, order[fold::FOLDS])
        part, rest = (tune.subset(rows) for rows in (out, kept))
        ensemble = None if base.ensemble is None else fit_ensemble(base.tempered(rest.logits), labels[kept])
        folds.append(_Fold(out, part, kept, rest, ensemble))
    return folds


def _candidate(policy: Policy, tune: ExitPredictions, folds: Sequence[_Fold]) -> Candidate:
    """Return a policy whose thresholds were not fitted to labels."""
    outcome = outcome_of(policy, tune)
    answers = outcome.labels
    if policy.ensemble is not None and folds:
        answers = answers.copy()
        for fold in folds:
            answers[fold.out] = outcome_of(replace(policy, ensemble=fold.ensemble), fold.part).labels
    return Candidate(policy, answers, outcome.relative_cost)


def _shared(base: Policy, tune: ExitPredictions) -> list[Policy]:
    """Return one threshold for all exits: 0, and quantiles of the early exits' signal."""
    confidence, _ = _scan(base, tune)
    early = confidence[:-1]
    if early.size == 0:
        return []
    steps = np.linspace(0, 1, _QUANTILES + 1)
    values = np.unique(np.append(np.quantile(early, steps, method="inverted_cdf"), 0.0)).tolist()
    return [replace(base, thresholds=shared_threshold(value, tune.exits).thresholds) for value in values]


def _fitted(
    base: Policy,
    tune: ExitPredictions,
    target: Labels,
    *,
    folds: Sequence[_Fold],
) -> list[Candidate]:
    """Return per-exit thresholds for every price on cost, their answers by cross-validation."""
    confidence, answers = _scan(base, tune)
    if tune.exits == 1 or not folds:
        return []
    costs = np.asarray(tune.costs)
    rows = price_path(confidence, answers == target, costs)
    honest = np.empty((len(rows), tune.samples), dtype=answers.dtype)
    for fold in folds:
        inner = replace(base, ensemble=fold.ensemble)
        signal, given = _scan(inner, fold.rest)
        for place, row in enumerate(price_path(signal, given == target[fold.kept], costs)):
            honest[place, fold.out] = outcome_of(_with(inner, row), fold.part).labels
    removable = base.signal not in {PATIENCE, ENSEMBLE}  # which depend on the exits before
    found = []
    for row, answers_of in zip(rows, honest, strict=True):
        policy = _with(base, row)
        outcome = outcome_of(policy, tune)
        if removable:
            policy = _without_idle_exits(policy, outcome, tune.costs)
            outcome = outcome_of(policy, tune)
        found.append(Candidate(policy, answers_of, outcome.relative_cost, fitted=True))
    return found


def _without_idle_exits(policy: Policy, outcome: Outcome, costs: CostModel) -> Policy:
    """Return the policy with exits switched off where hardly any sample leaves: their heads need not be run.

    Cascaded heads are read by later ones: of these, the last alone.
    """
    busy = [share >= IDLE_SHARE for share in outcome.exit_shares(policy.exits)[:-1]]
    needed = [any(busy[place:]) if costs.cascaded else is_busy for place, is_busy in enumerate(busy)]
    kept = (value if runs else None for runs, value in zip(needed, policy.thresholds, strict=True))
    return replace(policy, thresholds=tuple(kept))


def _with(base: Policy, thresholds: NDArray[np.float64]) -> Policy:
    """Return ``base`` with other thresholds (E-1,)."""
    return replace(base, thresholds=tuple(thresholds.tolist()))


def _scan(base: Policy, tune: ExitPredictions) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the signal (E, N) and the answers (E, N) at every exit, all exits in use."""
    confidence, scores = scan_exits(base.signal, base.tempered(to_numpy(tune.logits)), ensemble=base.ensemble)
    return confidence, scores.argmax(axis=-1)
