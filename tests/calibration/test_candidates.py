"""The front found on `tune`: scored as the policy acts, kept by budgets, and no worse on samples it never saw."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.synthetic import COSTS, HEAD_COSTS, part, pool

from shallowdeep.calibration.candidates import best_within_budget, candidates, pareto, pareto_front
from shallowdeep.calibration.threshold_search import price_path
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.outcome import final_answers, outcome_of, summarize
from shallowdeep.exits.policy import NEVER, Policy
from shallowdeep.exits.predictions import ExitPredictions

NONE = (None,) * 5


def small(seed: int = 0, samples: int = 300) -> ExitPredictions:
    """A small split."""
    return pool(samples, seed)


def mean_cost(policy: Policy, pred: ExitPredictions) -> float:
    """Mean cost by a slow loop: the backbone's way to each exit, and the heads in use on it."""
    total = 0.0
    for n in range(pred.samples):
        bare, heads = 0.0, 0.0
        for k in range(pred.exits):
            if k not in policy.in_use:
                continue
            bare = COSTS[k] - sum(HEAD_COSTS[: k + 1])
            heads += HEAD_COSTS[k] if k < len(HEAD_COSTS) else 0.0
            z = pred.logits[k, n].astype(np.float64)
            sure = np.exp(z - z.max())
            if k == pred.exits - 1 or 1 / sure.sum() >= np.float32(policy.threshold_at(k)):
                break
        total += bare + heads
    return total / pred.samples


def test_following_a_policy_costs_what_a_slow_loop_counts() -> None:
    """Heads of exits that are switched off cost nothing; accuracy and losses are counted against labels and final."""
    pred = small()
    policy = Policy((0.6, None, 0.7, 2.0, None))
    block = summarize(policy, pred)
    assert block.relative_cost == pytest.approx(mean_cost(policy, pred))
    followed = outcome_of(policy, pred)
    assert block.accuracy == pytest.approx(np.mean(followed.labels == pred.labels))
    assert block.accuracy_lost == pytest.approx(block.final_accuracy - block.accuracy)
    assert block.disagreement == pytest.approx(np.mean(followed.labels != pred.logits[-1].argmax(-1)))
    assert sum(block.exit_shares) == pytest.approx(1)
    assert block.exit_shares[1] == block.exit_shares[3] == block.exit_shares[4] == block.forced == 0


def test_pareto_keeps_what_nothing_beats() -> None:
    """Dearest first; of equals one; whatever is beaten or equalled in both goes."""
    values, costs = [0.9, 0.8, 0.8, 0.7, 0.95, 0.9], [0.8, 0.5, 0.6, 0.5, 1.0, 0.9]
    assert pareto(values, costs) == [4, 0, 1]
    assert pareto([1.0, 1.0], [0.5, 0.5]) == [0]


def slow_value(confidence: NDArray[np.float64], rewards: NDArray[np.float64], row: list[float]) -> float:
    """Mean reward minus cost at a price of .3, of one row of thresholds."""
    total = 0.0
    for n in range(confidence.shape[1]):
        k = next((k for k, threshold in enumerate(row) if confidence[k, n] >= threshold), len(row))
        total += float(rewards[k, n]) - 0.3 * COSTS[k]
    return total / int(confidence.shape[1])


def test_the_path_is_near_the_best_there_is() -> None:
    """On a split large enough not to be followed too closely, no threshold moved alone gains a quarter of a point."""
    pred = pool(4000)
    z = pred.logits.astype(np.float64)
    confidence = 1 / np.exp(z - z.max(-1, keepdims=True)).sum(-1)
    rewards = (z.argmax(-1) == pred.labels).astype(np.float64)
    (row,) = price_path(confidence, rewards, COSTS, [0.3]).tolist()
    found = slow_value(confidence, rewards, row)
    for k in range(len(row)):
        for value in np.quantile(confidence[k], np.linspace(0, 1, 12)):
            assert slow_value(confidence, rewards, [*row[:k], float(value), *row[k + 1 :]]) <= found + 0.0025


def test_prices_walk_from_answers_to_cost() -> None:
    """At no price nobody needs to leave early where the last exit is best; at any price all leave at the first."""
    confidence = np.tile(np.linspace(0.2, 0.9, 200), (3, 1))
    rewards = np.stack([confidence[0], confidence[0] + 0.05, np.ones(200)])
    path = price_path(confidence, rewards, [0.3, 0.6, 1.0], [0.0, 100.0])
    assert path[0].tolist() == [NEVER, NEVER]
    assert path[-1].tolist() == [0.2, 0.2]
    assert (np.diff(path, axis=0) <= 0).all()


def test_every_candidate_costs_on_tune_what_it_says() -> None:
    """Costs are the policy's own, and so are the answers where nothing was fitted; idle exits are switched off."""
    tune = small()
    found = candidates(tune, Policy(NONE), [tune.labels, final_answers(tune)])
    assert len({candidate.policy.thresholds for candidate in found}) == len(found)
    assert found[0].policy.thresholds == NONE
    assert found[0].relative_cost == pytest.approx(1.0)
    assert (found[0].answers == final_answers(tune)).all()
    for candidate in found:
        followed = outcome_of(candidate.policy, tune)
        assert candidate.relative_cost == pytest.approx(followed.relative_cost)
        assert candidate.fitted or (candidate.answers == followed.labels).all()
    assert any(None in candidate.policy.thresholds for candidate in found[1:])


@pytest.mark.parametrize("signal", ["patience", "ensemble", "margin"])
@pytest.mark.parametrize("fallback", ["final", "most-confident"])
def test_all_signals_and_fallbacks_are_searched(signal: str, fallback: str) -> None:
    """Signals that look back and the paper's fallback give fronts too, with temperatures and a cost limit."""
    tune = small()
    base = Policy(NONE, signal, fallback, temperatures=(1.1, 1.2, 0.9, 1.0, 1.3, 1.4), max_relative_cost=0.8)
    front = pareto_front(candidates(tune, base, [tune.labels]), tune.labels)
    assert len(front) >= 3
    for one, other in pairwise(front):
        assert one.relative_cost > other.relative_cost
        assert (one.answers == tune.labels).mean() > (other.answers == tune.labels).mean()
    for candidate in front:
        assert (candidate.policy.signal, candidate.policy.fallback) == (signal, fallback)
        assert outcome_of(candidate.policy, tune).costs.max() <= 0.8
    with pytest.raises(ConfigurationError, match="Expected a highest relative cost of at least"):
        candidates(tune, Policy(NONE, signal, max_relative_cost=0.1), [tune.labels])


def test_budgets_are_kept_and_refused() -> None:
    """The best of what costs at most the budget on `tune`; less than the first exit cannot be had."""
    tune = small()
    front = pareto_front(candidates(tune, Policy(NONE), [tune.labels]), tune.labels)
    for budget in (0.2, 0.5, 0.7, 2.0):
        chosen = best_within_budget(front, budget)
        assert chosen.relative_cost <= budget
        values = [(c.answers == tune.labels).mean() for c in front if c.relative_cost <= budget]
        assert (chosen.answers == tune.labels).mean() == max(values)
    with pytest.raises(ConfigurationError, match="Expected a budget of at least"):
        best_within_budget(front, 0.1)


def test_a_front_is_found_in_seconds() -> None:
    """1,700 samples, six exits: about a second; ten times that is still bearable."""
    tune = pool(1700)
    start = time.perf_counter()
    candidates(tune, Policy(NONE), [tune.labels])
    assert time.perf_counter() - start < 10


def test_thresholds_of_their_own_are_no_worse_on_other_samples() -> None:
    """At budgets from .25 to .9, found on 1,700 samples, shown on 20,000: on the average better than one threshold."""
    everyone = pool(20_000, seed=1)
    generator = np.random.default_rng(0)
    gains = []
    for _ in range(3):
        tune = part(everyone, generator.integers(0, everyone.samples, 1700))
        found = candidates(tune, Policy(NONE), [tune.labels])
        shared = pareto_front([candidate for candidate in found if not candidate.fitted], tune.labels)
        front = pareto_front(found, tune.labels)
        for budget in (0.25, 0.4, 0.55, 0.7, 0.9):
            accuracies = []
            for line in (front, shared):
                answers = outcome_of(best_within_budget(line, budget).policy, everyone).labels
                accuracies.append((answers == everyone.labels).mean())
            gains.append(accuracies[0] - accuracies[1])
    by_budget = np.asarray(gains).reshape(3, -1).mean(axis=0)
    assert by_budget.mean() > 0.002
    assert (by_budget > -0.005).all()  # three draws of 1,700 tell no better


def test_temperatures_go_with_thresholds_of_their_own() -> None:
    """Policies with one threshold for all exits are looked for without temperatures."""
    tune = small()
    temperatures = (1.1, 1.2, 0.9, 1.0, 1.3, 1.4)
    for candidate in candidates(tune, Policy(NONE, temperatures=temperatures), [tune.labels])[1:]:
        assert candidate.policy.temperatures == (temperatures if candidate.fitted else ())
