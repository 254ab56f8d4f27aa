"""From predictions on ``tune`` and ``certify`` to the policy that an objective asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shallowdeep.calibration.abstention_fit import answered, check_enough_to_abstain, with_abstention
from shallowdeep.calibration.certification import check_enough
from shallowdeep.calibration.ensemble_fit import fit_ensemble
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.policy_search import with_threshold, within_budget, within_loss, without_exits
from shallowdeep.calibration.temperature import fit_temperatures, label_losses
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.choice import MACS, TIME
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.restriction import kept_exits, restricted, widened
from shallowdeep.exits.signals import ENSEMBLE


@dataclass(frozen=True)
class TemperatureFit:
    """What temperatures fitted on ``tune`` change.

    Attributes:
        fitted_on: the split.
        values: (E,) temperatures.
        label_loss_before: (E,) mean negative log-likelihood of the labels on ``tune``, in nats.
        label_loss_after: likewise, with the temperatures.
    """

    fitted_on: str
    values: tuple[float, ...]
    label_loss_before: tuple[float, ...]
    label_loss_after: tuple[float, ...]


@dataclass(frozen=True)
class Search:
    """Where a policy is looked for.

    Attributes:
        early: internal classifiers that it may use; None for all.
        times: what reaching each of the E exits takes, as a share of the static network's time: the cheapest policy is
            the fastest by it. None for multiply-adds.
    """

    early: tuple[int, ...] | None = None
    times: CostModel | None = None


EVERYWHERE = Search()


@dataclass(frozen=True)
class Calibration:
    """What calibration gave.

    Attributes:
        policy: thresholds, how they were found, and what is promised.
        base: settings beside thresholds of the exits that were searched: signal, fallback, temperatures, ensemble and
            cost limit.
        kept: these exits, the final one last.
        temperatures: what fitting them changed; None where the policy uses none.
    """

    policy: Policy
    base: Policy
    kept: tuple[int, ...]
    temperatures: TemperatureFit | None


def check_sizes(objective: Objective, certify: int, held: int | None = None) -> None:
    """Refuse promises that ``certify`` is too small for.

    Args:
        objective: what is asked for.
        certify: samples of it.
        held: images that ``train``, ``tune`` and ``certify`` were cut from; None where that is not known.

    Raises:
        ConfigurationError: naming the size needed and what to do.
    """
    parts = max(1, objective.promises)
    samples = certify // parts
    if objective.abstain is not None:
        check_enough_to_abstain(samples, error_rate=objective.abstain, confidence=objective.confidence, parts=parts)
    if objective.max_accuracy_loss is not None:
        delta = 1 - objective.confidence
        check_enough(
            samples, risk=objective.risk, eps=objective.max_accuracy_loss, delta=delta, held=held, parts=parts
        )  # fmt: skip


def calibrate_predictions(
    objective: Objective,
    tune: ExitPredictions,
    certify: ExitPredictions,
    statistics: ConfusionStatistics | None = None,
    search: Search = EVERYWHERE,
) -> Calibration:
    """Return the policy that an objective asks for.

    Everything is chosen on ``tune``; ``certify`` decides about promises alone. The test split is never looked at.

    Args:
        objective: what is asked for.
        tune: predictions on the split to choose on.
        certify: predictions of the same network on samples that neither training nor any choice has seen.
        statistics: of confusion on training data, so that answers may be withheld by it; or None.
        search: where.

    Raises:
        ConfigurationError: a single exit, predictions of two networks, no such exits, or nothing that can be promised.
    """
    if tune.exits == 1:
        raise ConfigurationError("Expected predictions of internal classifiers too, got a single exit's")
    if (tune.exits, tune.classes, tune.weights) != (certify.exits, certify.classes, certify.weights):
        raise ConfigurationError("Expected tune and certify predictions of one network, got two networks'")
    check_sizes(objective, certify.samples)
    early = range(tune.exits - 1) if search.early is None else search.early
    kept = kept_exits(early, tune.exits, cascaded=tune.costs.cascaded)
    few = restricted(tune, kept)
    base, temperatures = base_policy(objective, few)
    if base.signal == ENSEMBLE:
        everywhere = shared_threshold(NEVER, base.exits).thresholds
        ensemble = fit_ensemble(base.tempered(to_numpy(few.logits)), to_numpy(few.labels))
        base = replace(base, thresholds=everywhere, ensemble=ensemble)
    for_loss, for_abstention = _shared_out(objective, certify)
    timed = None if search.times is None else restricted(tune.costing(search.times), kept)
    found = _chosen(objective, base, few, restricted(for_loss, kept), timed)
    policy = replace(widened(found, kept, tune.exits), weights=tune.weights)
    if objective.abstain is not None:
        on_tune, tested = (answered(policy, pred, statistics) for pred in (tune, for_abstention))
        policy = with_abstention(policy, on_tune, tested, error_rate=objective.abstain, confidence=objective.confidence)
        policy = _of_runtime(policy, certify)
    return Calibration(policy, base, kept, temperatures if policy.temperatures else None)


def _of_runtime(policy: Policy, certify: ExitPredictions) -> Policy:
    """Return the policy whose promise on answers says which runtime it is about, where that matters."""
    abstention = policy.abstention
    if certify.reference is None or abstention is None or abstention.promise is None:
        return policy
    promise = replace(abstention.promise, runtime=certify.backend)
    return replace(policy, abstention=replace(abstention, promise=promise))


def base_policy(objective: Objective, tune: ExitPredictions) -> tuple[Policy, TemperatureFit | None]:
    """Return the policy's settings, with temperatures where they are wanted, and what these change."""
    base = objective.base(tune.exits)
    if not objective.fits_temperatures:
        return base, None
    logits, labels = to_numpy(tune.logits), to_numpy(tune.labels)
    values = fit_temperatures(logits, labels)
    before, after = (label_losses(logits, labels, one) for one in ([1.0] * tune.exits, values))
    return replace(base, temperatures=values), TemperatureFit("tune", values, before, after)


def _shared_out(objective: Objective, certify: ExitPredictions) -> tuple[ExitPredictions, ExitPredictions]:
    """Return what the loss is tested on and what abstention is.

    A policy that was chosen with samples may not be tested on them again: where both are promised each gets a half.
    """
    if objective.max_accuracy_loss is None or objective.abstain is None:
        return certify, certify
    order = seeded_order(certify.samples, 0)
    return certify.subset(np.sort(order[::2])), certify.subset(np.sort(order[1::2]))


def _chosen(
    objective: Objective, base: Policy, tune: ExitPredictions, certify: ExitPredictions, timed: ExitPredictions | None
) -> Policy:
    """Return the policy with thresholds, by ``tune`` and what of ``certify`` the loss is tested on.

    Args:
        objective: what is asked for.
        base: its other settings.
        tune: to choose on.
        certify: to test on.
        timed: ``tune`` with costs in time; None to go by multiply-adds, as budgets and cost limits do anyway.
    """
    if tune.exits == 1 and (objective.max_accuracy_loss is None or certify.reference is None):
        return without_exits(base)
    if objective.threshold is not None:
        return with_threshold(base, objective.threshold)
    if objective.budget is not None:
        return within_budget(tune, base, objective.budget)
    loss = objective.max_accuracy_loss or 0.0
    by_time = timed is not None and objective.max_relative_cost is None
    return within_loss(
        timed if timed is not None and by_time else tune, certify, base, loss=loss, confidence=objective.confidence,
        risk=objective.risk, costs=TIME if by_time else MACS,
    )  # fmt: skip
