"""The whole policy against a slow loop, and what holds for any logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.exits.ensembles import drawn

from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy import FALLBACKS, NEVER, Policy, decide, shared_threshold
from shallowdeep.exits.signals import SIGNALS, scan_exits

LIBRARIES = [np.asarray, torch.asarray]
COSTS = (0.2, 0.4, 0.7, 1.05)


def logits_of(seed: int, exits: int = 4, samples: int = 30, classes: int = 5) -> np.ndarray[Any, Any]:
    """Random logits, surer from exit to exit."""
    generator = np.random.default_rng(seed)
    scale = np.linspace(1, 4, exits)[:, None, None]
    return (generator.normal(size=(exits, samples, classes)) * scale).astype(np.float32)


def slow(policy: Policy, logits: np.ndarray[Any, Any], costs: list[float] | None) -> list[tuple[Any, ...]]:
    """Walk sample by sample, exit by exit: (exit, answered by, label, confidence, forced)."""
    walked = []
    for n in range(logits.shape[1]):
        seen: list[tuple[float, int, int]] = []  # confidence, exit, label
        for place, k in enumerate(policy.in_use):
            heads = np.stack(
                [logits[j, n : n + 1] / np.float32(policy.temperature_at(j)) for j in policy.in_use[: place + 1]]
            )
            confidence, scores = scan_exits(policy.signal, heads, len(policy.in_use), policy.ensemble)
            seen.append((float(confidence[-1, 0]), k, int(scores[-1, 0].argmax())))
            final = k == policy.exits - 1
            sure = not final and seen[-1][0] >= np.float32(policy.threshold_at(k))
            limit = policy.max_relative_cost
            out_of_budget = limit is not None and costs is not None and not final and costs[place + 1] > limit
            if sure or final or out_of_budget:
                best = seen[-1]
                if policy.fallback == "most-confident" and not sure:
                    best = max(seen, key=lambda entry: entry[0])  # the first of equals
                walked.append((k, best[1], best[2], best[0], bool(out_of_budget and not sure)))
                break
    return walked


thresholds = st.one_of(st.none(), st.floats(0, 1.2))
policies = st.builds(
    Policy,
    thresholds=st.tuples(thresholds, thresholds, thresholds),
    signal=st.sampled_from(SIGNALS),
    fallback=st.sampled_from(FALLBACKS),
    temperatures=st.sampled_from([(), (1.5, 0.7, 1.0, 2.0)]),
    max_relative_cost=st.sampled_from([None, 0.75, 2.0]),
)


@pytest.mark.parametrize("asarray", LIBRARIES)
@settings(deadline=None, max_examples=60)
@given(policy=policies, seed=st.integers(0, 100), weighted=st.booleans())
def test_agrees_with_a_slow_loop(asarray: Callable[..., Array], policy: Policy, seed: int, weighted: bool) -> None:
    """For any signal, ensemble, fallback, temperatures, switched-off exits and cost limit, in both libraries."""
    logits = logits_of(seed)
    if weighted and policy.signal == "ensemble":
        policy = replace(policy, ensemble=drawn(len(policy.in_use), logits.shape[-1], seed))
    model = CostModel(tuple(COSTS), (0.01,) * 3)
    costs = model.in_use(policy.in_use).tolist()
    if policy.max_relative_cost is not None and costs[0] > policy.max_relative_cost:
        with pytest.raises(ConfigurationError, match="Expected a highest relative cost of at least"):
            decide(policy, asarray(logits), model)
        return
    got = decide(policy, asarray(logits.copy()), model)
    expected = slow(policy, logits, costs)
    for n, (exit_, by, label, confidence, forced) in enumerate(expected):
        assert (int(got.exits[n]), int(got.answered_by[n]), int(got.labels[n])) == (exit_, by, label)
        assert float(got.confidences[n]) == pytest.approx(confidence, abs=1e-5)
        assert bool(got.forced[n]) is forced


@settings(deadline=None, max_examples=40)
@given(signal=st.sampled_from(SIGNALS), seed=st.integers(0, 100), pair=st.tuples(st.floats(0, 1.2), st.floats(0, 1.2)))
def test_a_higher_threshold_never_exits_earlier(signal: str, seed: int, pair: tuple[float, float]) -> None:
    """Raising the threshold moves no sample to an earlier exit, whatever the signal."""
    low, high = (to_numpy(decide(shared_threshold(q, 4, signal=signal), logits_of(seed)).exits) for q in sorted(pair))
    assert np.all(low <= high)


@settings(deadline=None, max_examples=30)
@given(signal=st.sampled_from(SIGNALS), seed=st.integers(0, 100), first=st.integers(0, 2))
def test_zero_leaves_at_the_first_exit_in_use_and_above_one_never_early(signal: str, seed: int, first: int) -> None:
    """The two ends of the range, with exits switched off before the first."""
    off = (None,) * first
    zero = Policy(thresholds=(*off, *[0.0] * (3 - first)), signal=signal)
    never = Policy(thresholds=(*off, *[NEVER] * (3 - first)), signal=signal)
    assert set(decide(zero, logits_of(seed)).exits.tolist()) == {first}
    assert set(decide(never, logits_of(seed)).exits.tolist()) == {3}


def test_a_cost_limit_forces_and_marks() -> None:
    """Who is not confident by the last exit within the limit answers there and is marked; who is, is not."""
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1, 0] = [9, 0]  # the first sample is sure at exit 1
    logits[1, 1] = [0, 1]
    policy = Policy(thresholds=(0.9, 0.9), max_relative_cost=0.6)
    got = decide(policy, logits, CostModel((0.3, 0.6, 1.0)))
    assert got.exits.tolist() == [1, 1]
    assert got.labels.tolist() == [0, 1]
    assert got.forced.tolist() == [False, True]


def test_most_confident_answers_when_none_is() -> None:
    """The paper's rule takes the surest of all exits, the default the final one; both cost the whole way."""
    logits = np.array([[[3.0, 0.0]], [[0.0, 2.0]], [[0.0, 1.0]]], np.float32)
    for fallback, label, by in (("final", 1, 2), ("most-confident", 0, 0)):
        got = decide(shared_threshold(NEVER, 3, fallback=fallback), logits)
        assert (got.labels.tolist(), got.answered_by.tolist(), got.exits.tolist()) == ([label], [by], [2])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"thresholds": (-0.1,)}, "Expected thresholds of at least 0"),
        ({"thresholds": (float("nan"),)}, "Expected thresholds of at least 0"),
        ({"thresholds": (0.5,), "temperatures": (1.0,)}, "Expected 2 temperatures, got 1"),
        ({"thresholds": (0.5,), "temperatures": (1.0, 0.0)}, "Expected temperatures above 0"),
        ({"thresholds": (0.5,), "max_relative_cost": 0.0}, "Expected a highest relative cost above 0"),
    ],
)
def test_senseless_policies_are_refused(settings_: dict[str, Any], message: str) -> None:
    """A value out of range is told when the policy is made."""
    with pytest.raises(ConfigurationError, match=message):
        Policy(**settings_)


def test_unknown_names_are_told_with_the_nearest() -> None:
    """Signals and fallback rules."""
    with pytest.raises(UnknownNameError, match="nearest: entropy"):
        Policy(thresholds=(0.5,), signal="entrop")
    with pytest.raises(UnknownNameError, match="nearest: final"):
        Policy(thresholds=(0.5,), fallback="finale")


def test_logits_of_another_network_are_refused() -> None:
    """A policy is for a number of exits."""
    with pytest.raises(DataError, match="Expected logits of 4 exits"):
        decide(shared_threshold(0.5, 4), logits_of(0, exits=3))


def test_a_cost_limit_takes_plain_numbers() -> None:
    """Costs may be a list, as from another program: the heads' own costs then count as nothing."""
    logits = np.zeros((3, 2, 4), np.float32)
    policy = Policy((0.9, 0.9), max_relative_cost=0.7)
    decisions = decide(policy, logits, [0.3, 0.6, 1.0])
    assert decisions.exits.tolist() == [1, 1]
    assert decisions.forced.tolist() == [True, True]
    with pytest.raises(DataError, match=r"Expected floating costs of shape \(E,\)"):
        decide(policy, logits, [[0.3, 0.6, 1.0]])  # type: ignore[list-item]
