"""Policies by a threshold, a budget and a promise; and that promises are kept as often as they say."""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.synthetic import COSTS, part, pool

from shallowdeep.calibration.candidates import candidates
from shallowdeep.calibration.certification import certify_sequence, losses_of, sequence_to_test
from shallowdeep.calibration.gap_test import gap_p_value
from shallowdeep.calibration.policy_search import with_threshold, within_budget, within_loss
from shallowdeep.calibration.risk import binomial_p_value, p_values, samples_needed
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.choice import ByBudget, ByLoss, ByThreshold, Found
from shallowdeep.exits.outcome import final_answers, outcome_of, summarize
from shallowdeep.exits.policy import NEVER, Policy
from shallowdeep.exits.policy_file import policy_document, policy_from
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import default_thresholds, threshold_curve

NONE = Policy((None,) * 5)
EPS, DELTA = 0.01, 0.05
DRAWS = 1000


def test_the_papers_rule_and_its_curve() -> None:
    """One threshold for all exits; the curve runs from the first exit's accuracy and cost to the last one's."""
    tune, test = pool(400), pool(500, seed=1)
    policy = with_threshold(NONE, 0.9)
    assert policy.thresholds == (0.9,) * 5
    assert (policy.found, policy.promise) == (Found(ByThreshold(threshold=0.9)), None)
    for pred in (tune, test):
        curve = threshold_curve(pred, default_thresholds(tune, NONE), NONE)
        right = (pred.logits.argmax(-1) == pred.labels).mean(axis=1)
        assert curve.accuracy[[0, -1]] == pytest.approx(right[[0, -1]])
        assert curve.relative_cost[[0, -1]] == pytest.approx((COSTS[0], COSTS[-1]))
        assert np.all(np.diff(curve.thresholds) > 0)
        assert np.all(np.diff(curve.relative_cost) >= -1e-12)
    with pytest.raises(ConfigurationError, match="Expected thresholds of at least 0"):
        with_threshold(NONE, -0.1)


def test_a_budget_is_kept_on_tune() -> None:
    """Mean cost on `tune` is within the budget, accuracy above that of any exit alone at that cost."""
    tune = pool(800)
    policy = within_budget(tune, NONE, 0.5)
    block = summarize(policy, tune)
    assert block.relative_cost <= 0.5
    assert block.accuracy > (tune.logits[2].argmax(-1) == tune.labels).mean()
    assert policy.found is not None
    assert isinstance(policy.found.rule, ByBudget)
    assert policy.found.rule.relative_cost == pytest.approx(block.relative_cost)
    for budget in (0.0, float("nan"), 0.1):
        with pytest.raises(ConfigurationError, match="Expected a budget"):
            within_budget(tune, NONE, budget)


@pytest.mark.parametrize("risk", ["accuracy-gap", "disagreement"])
def test_a_promise_says_what_it_rests_on(risk: str) -> None:
    """The policy is cheaper than the backbone; one sentence has confidence, loss, size and assumptions."""
    tune, certify = pool(1000), pool(3000, seed=1)
    policy = within_loss(tune, certify, NONE, loss=0.02, confidence=0.9, risk=risk)
    assert summarize(policy, tune).relative_cost < 0.8
    promise = policy.promise
    assert promise is not None
    assert (promise.risk, promise.max_loss, promise.confidence, promise.samples) == (risk, 0.02, 0.9, 3000)
    assert promise.p_value <= 0.1
    for words in (
        "90 % confidence",
        "3,000 certify images",
        "own final exit",
        "independently",
        "not if they are shifted",
    ):
        assert words in promise.sentence
    assert "2 points less accurate" in promise.sentence or "at most 2 % of images" in promise.sentence
    assert policy.found is not None
    assert isinstance(policy.found.rule, ByLoss)
    assert "certify was read" in policy.found.rule.note
    walked = [step.p_value for step in policy.found.rule.sequence]
    assert promise.p_value in walked[-2:]
    assert all(value <= 0.1 for value in walked[:-1])
    document = policy_document(policy)
    assert policy_document(policy_from(document, "here")) == document
    if risk == "disagreement":
        answers = outcome_of(policy, certify).labels
        assert promise.p_value == pytest.approx(binomial_p_value(answers != final_answers(certify), 0.02))


def test_the_same_splits_give_the_same_policy() -> None:
    """Nothing depends on chance; `certify` decides how far the walk along the sequence goes, and nothing else."""
    tune = pool(500)
    policies = [within_loss(tune, pool(2000, seed), NONE, loss=0.03) for seed in (1, 1, 2)]
    assert policy_document(policies[0]) == policy_document(policies[1])
    found = candidates(tune, NONE, [tune.labels])
    sequence = sequence_to_test(found, tune, risk="accuracy-gap", samples=2000)
    assert {policies[0].thresholds, policies[2].thresholds} <= {step.policy.thresholds for step in sequence}


def test_losses_by_hand() -> None:
    """Right at the end and wrong before is 1, the other way round -1, any other answer disagrees."""
    logits = np.zeros((2, 4, 3), dtype=np.float32)
    for n, answer in enumerate([0, 1, 0, 2]):
        logits[1, n, answer] = 1
    pred = ExitPredictions(logits, np.asarray([0, 0, 0, 0]), np.asarray([0.5, 1.0]))
    answers = np.asarray([1, 0, 0, 1])
    assert losses_of("accuracy-gap", answers, pred).tolist() == [1, -1, 0, 0]
    assert losses_of("disagreement", answers, pred).tolist() == [1, 1, 0, 1]


def test_the_walk_keeps_the_last_that_passes() -> None:
    """Safe policies pass, and what comes behind one that fails is not looked at."""
    certify = pool(4000, seed=2)
    never, safe, bold = with_threshold(NONE, NEVER), with_threshold(NONE, 0.99), with_threshold(NONE, 0.0)
    tested = certify_sequence([never, safe, bold, never], certify, risk="disagreement", eps=0.02, delta=0.05)
    assert tested.chosen == 1
    assert len(tested.p_values) == 3
    assert tested.p_values[1] <= 0.05 < tested.p_values[2]
    losses = losses_of("accuracy-gap", outcome_of(safe, certify).labels, certify)
    tested = certify_sequence([safe], certify, risk="accuracy-gap", eps=0.02, delta=0.05)
    assert tested.p_values[0] == p_values("accuracy-gap", losses[None], 0.02, 0.05)[0]


def test_too_few_samples_are_refused_with_the_size_needed() -> None:
    """299 for 0/1 losses at a point and 95 %, 301 for the signed gap, and what to do about it."""
    tune = pool(100)
    for risk, needed in (("disagreement", 299), ("accuracy-gap", 301)):
        with pytest.raises(
            ConfigurationError,
            match=f"at least {needed} certify samples.*got {needed - 1}; hold out more.*; a loss of at most 1.1 %",
        ):
            within_loss(tune, pool(needed - 1, seed=1), NONE, loss=EPS, risk=risk)


def test_where_nothing_passes_no_sample_leaves_early() -> None:
    """Exits that guess: the policy is the backbone, without a promise, and says so."""
    tune, certify = pool(300), pool(400, seed=1)
    tune, certify = (
        ExitPredictions(np.concatenate([-9 * p.logits[:5], p.logits[5:]]), p.labels, p.costs) for p in (tune, certify)
    )
    policy = within_loss(tune, certify, NONE, loss=EPS)
    assert (policy.thresholds, policy.promise) == ((None,) * 5, None)
    assert policy.found is not None
    assert isinstance(policy.found.rule, ByLoss)
    assert "No early exit can be promised to lose at most 1 point" in policy.found.rule.note
    assert summarize(policy, certify).accuracy_lost == 0
    limited = Policy((None,) * 5, max_relative_cost=0.4)
    with pytest.raises(ConfigurationError, match="Expected a highest relative cost under which"):
        within_loss(tune, certify, limited, loss=EPS)


def test_objectives_out_of_range_are_refused() -> None:
    """A loss in points instead of a fraction, no confidence, an unknown risk."""
    tune = pool(100)
    for loss, confidence in ((1.0, 0.95), (0.0, 0.95), (0.01, 1.0), (0.01, 0.0), (float("nan"), 0.95)):
        with pytest.raises(ConfigurationError, match="Expected a"):
            within_loss(tune, tune, NONE, loss=loss, confidence=confidence)
    with pytest.raises(UnknownNameError, match="nearest: accuracy-gap"):
        within_loss(tune, tune, NONE, loss=EPS, risk="accuracy")


LOSSES = (0.01, 0.015, 0.02, 0.025, 0.03)


@pytest.mark.parametrize(
    ("risk", "samples", "tunes", "promised"),
    [
        ("accuracy-gap", 400, 10, LOSSES),
        ("accuracy-gap", 5000, 1, LOSSES[:1]),
        ("disagreement", 400, 10, LOSSES),
        ("disagreement", 5000, 1, LOSSES[2:3]),
    ],
)
def test_promises_break_as_rarely_as_they_say_and_looser_ones_never_cost_more(
    risk: str, samples: int, tunes: int, promised: tuple[float, ...]
) -> None:
    """Over 1,000 draws of certify, for one draw of tune or ten, from a pool whose true risks are known.

    The policy chosen has a true risk above eps in at most delta of the draws (three standard errors allowed), at any
    of the losses promised; its cost on ``tune`` never rises from one loss to the next larger; and at n = 5,000 the mean
    cost is within 15 % of the cheapest of all candidates whose true risk is at most eps.
    """
    everyone = pool(12_000, seed=3)
    generator = np.random.default_rng(0)
    broken = dict.fromkeys(promised, 0)
    paid: list[float] = []
    hindsight: list[float] = []
    for _ in range(tunes):
        tune = part(everyone, generator.integers(0, everyone.samples, min(samples // 2, 1700)))
        target = tune.labels if risk == "accuracy-gap" else final_answers(tune)
        found = candidates(tune, NONE, [target])
        sequence = sequence_to_test(found, tune, risk=risk, samples=samples)
        on_tune = [step.relative_cost for step in sequence]
        assert on_tune == sorted(on_tune, reverse=True)
        followed = [outcome_of(step.policy, everyone) for step in sequence]
        losses = np.stack([losses_of(risk, one.labels, everyone) for one in followed])  # (M, pool)
        true_risks = losses.mean(axis=1)
        for _ in range(DRAWS // tunes):
            drawn = losses[:, generator.integers(0, everyone.samples, samples)]
            last = -1
            for eps in promised:
                enough = samples >= samples_needed(risk, eps, DELTA)
                chosen = _walk(risk, drawn, eps) if enough else -1
                assert chosen >= last
                last = chosen
                broken[eps] += chosen >= 0 and bool(true_risks[chosen] > eps)
                paid.append(1.0 if chosen < 0 else followed[chosen].relative_cost)
        if tunes == 1:
            everything = [outcome_of(one.policy, everyone) for one in found]
            within = [one for one in everything if losses_of(risk, one.labels, everyone).mean() <= promised[0]]
            hindsight.append(min(one.relative_cost for one in within))
    assert 0 < max(broken.values()) / DRAWS <= DELTA + 3 * sqrt(DELTA * (1 - DELTA) / DRAWS)
    if hindsight:
        assert np.mean(paid) <= 1.15 * hindsight[0]


def _walk(risk: str, losses: NDArray[np.int8], eps: float) -> int:
    """The last setting of (M, n) losses before the first that does not pass; -1 for none."""
    samples = losses.shape[1]
    for place, row in enumerate(losses):
        counts = int((row > 0).sum()), int((row < 0).sum())
        if _p_value(risk, *counts, samples, eps) > DELTA:
            return place - 1
    return len(losses) - 1


@cache
def _p_value(risk: str, worse: int, better: int, samples: int, eps: float) -> float:
    if risk == "accuracy-gap":
        return gap_p_value(worse, better, samples, eps, DELTA)
    return binomial_p_value(np.arange(samples) < worse, eps)
