"""From predictions on ``tune`` and ``certify`` to a policy, by one of three objectives.

A threshold is taken as it is; a budget is kept on ``tune``; a largest accuracy loss is tested on ``certify`` and comes
with a promise. The test split is never looked at here.
"""

from __future__ import annotations

from dataclasses import replace

from shallowdeep.calibration.candidates import best_within_budget, candidates, pareto_front, safest
from shallowdeep.calibration.certification import certify_sequence, check_enough, sequence_to_test
from shallowdeep.calibration.objective import check_budget, check_loss
from shallowdeep.calibration.risk import ACCURACY_GAP, RISKS
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.choice import MACS, ByBudget, ByLoss, ByThreshold, Found, Rule, SequenceStep, Static
from shallowdeep.exits.outcome import final_answers
from shallowdeep.exits.policy import Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.promises import Promise, points

READ_ONCE = (
    "certify was read for this promise. It holds for settings fixed beforehand: calibrating again with others on the "
    "same split, and taking the one liked best, weakens it."
)
TESTS = {ACCURACY_GAP: "exact trinomial (Berger and Boos)", RISKS[1]: "exact binomial"}


def with_threshold(base: Policy, threshold: float) -> Policy:
    """Return the paper's policy: one threshold for all exits.

    Args:
        base: signal, fallback, temperatures, ensemble and cost limit; its thresholds do not matter.
        threshold: at least 0; above 1 no sample leaves early.

    Raises:
        ConfigurationError: a negative threshold.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 4.
    """
    thresholds = shared_threshold(threshold, base.exits).thresholds
    return _found_by(ByThreshold(threshold=threshold), replace(base, thresholds=thresholds))


def without_exits(base: Policy) -> Policy:
    """Return the policy of a network whose internal classifiers are not to be used: it loses nothing."""
    note = "No internal classifier is used: this is the unmodified network."
    return _found_by(Static(note=note), replace(base, thresholds=(None,) * (base.exits - 1), ensemble=None))


def within_budget(tune: ExitPredictions, base: Policy, budget: float) -> Policy:
    """Return the policy of the best accuracy on ``tune`` whose mean cost there is within the budget.

    Args:
        tune: predictions of all exits.
        base: signal, fallback, temperatures, ensemble and cost limit.
        budget: highest mean cost, relative to the backbone.

    Raises:
        ConfigurationError: even leaving at the first exit costs more.
    """
    check_budget(budget)
    labels = to_numpy(tune.labels)
    found = candidates(tune, base, [labels])
    chosen = best_within_budget(pareto_front(found, labels), budget)
    rule = ByBudget(
        budget=budget,
        chosen_on="tune",
        samples=tune.samples,
        candidates=len(found),
        relative_cost=chosen.relative_cost,
        cross_validated_accuracy=float((chosen.answers == labels).mean()),
    )
    return _found_by(rule, chosen.policy)


def within_loss(
    tune: ExitPredictions,
    certify: ExitPredictions,
    base: Policy,
    *,
    loss: float,
    confidence: float = 0.95,
    risk: str = ACCURACY_GAP,
    costs: str = MACS,
) -> Policy:
    """Return the cheapest policy whose loss against the final exit can be promised to be small.

    Args:
        tune: predictions on the split that the sequence of policies is found on; its costs decide what is cheap.
        certify: predictions on the split that it is tested on.
        base: signal, fallback, temperatures, ensemble and cost limit.
        loss: eps, a fraction in (0, 1): 0.01 is one point.
        confidence: 1 - delta, in (0, 1).
        risk: ``accuracy-gap`` or ``disagreement``.
        costs: what those of ``tune`` are counted in, ``macs`` or ``time``.

    Returns:
        A policy with its ``promise``; where no early exit passes, one that never exits early. That has none, unless
        losses count against another network's answers, such as those before quantisation: then it is tested too.

    Raises:
        ConfigurationError: a value out of range; too few samples to promise anything; or a cost limit that forces
            exits which nothing can be promised for.
    """
    check_loss(loss, confidence, risk)
    delta = 1 - confidence
    check_enough(certify.samples, risk=risk, eps=loss, delta=delta)
    target = to_numpy(tune.labels) if risk == ACCURACY_GAP else final_answers(tune)
    found = candidates(tune, base, [target])
    sequence = sequence_to_test(found, tune, risk=risk, samples=certify.samples)
    policies = [candidate.policy for candidate in sequence]
    certified = certify_sequence(policies, certify, risk=risk, eps=loss, delta=delta)
    rule = ByLoss(
        max_accuracy_loss=loss,
        confidence=confidence,
        risk=risk,
        chosen_on="tune",
        samples=tune.samples,
        candidates=len(found),
        tested_on="certify",
        sequence=tuple(
            SequenceStep(step.relative_cost, value) for step, value in zip(sequence, certified.p_values, strict=False)
        ),
        note=READ_ONCE,
        costs=costs,
    )
    if certified.chosen is not None:
        chosen = policies[certified.chosen]
        if len(chosen.in_use) > 1 or certify.reference is not None:
            values = certified.p_values[certified.chosen]
            promise = _promise(loss, confidence, risk, certify, values)
            return replace(_found_by(rule, chosen), promise=promise)
    never = safest(base, tune)
    if len(never.in_use) > 1:
        raise ConfigurationError(
            f"Expected a highest relative cost under which a loss of {100 * loss:g} points can be promised, got "
            f"{base.max_relative_cost}: not even going as far as it allows passes"
        )
    return _found_by(replace(rule, note=f"{_no_promise(loss, confidence)} {READ_ONCE}"), never)


def _found_by(rule: Rule, policy: Policy) -> Policy:
    """Return the policy with how it was found; temperatures and ensembles are fitted on ``tune``."""
    fitted = ("tune" if fit else None for fit in (policy.temperatures, policy.ensemble))
    temperatures, ensemble = fitted
    return replace(policy, found=Found(rule, temperatures, ensemble))


def _no_promise(loss: float, confidence: float) -> str:
    """Return what is said where no early exit passes."""
    return (
        f"No early exit can be promised to lose at most {points(loss)} with {100 * confidence:g} % confidence: this "
        "policy never exits early."
    )


def _promise(loss: float, confidence: float, risk: str, certify: ExitPredictions, p_value: float) -> Promise:
    """Return the promise: one sentence with its assumptions, and the numbers in it."""
    lower = certify.reference is not None
    against = "the float32 network's final exit" if lower else "the network's own final exit"
    policy = f"this policy in {certify.backend}" if lower else "this policy"
    what = (
        f"{policy} is at most {points(loss)} less accurate than {against}"
        if risk == ACCURACY_GAP
        else f"{policy} answers otherwise than {against} for at most {100 * loss:g} % of images"
    )
    sentence = (
        f"With {100 * confidence:g} % confidence over the draw of the {certify.samples:,} certify images, {what}, if "
        "images come independently from the distribution the calibration split came from, and the network was not "
        "trained on that split; not if they are shifted, or chosen to fool it."
    )
    return Promise(
        sentence=sentence,
        risk=risk,
        max_loss=loss,
        confidence=confidence,
        against="float32 final exit" if lower else "own final exit",
        samples=certify.samples,
        test=f"{TESTS[risk]}, fixed sequence",
        p_value=p_value,
        runtime=certify.backend if lower else "",
    )
