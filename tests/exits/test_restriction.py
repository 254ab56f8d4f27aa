"""A network as if it had only some of its exits."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.restriction import kept_exits, restricted, widened

COSTS = CostModel((0.25, 0.5, 0.8, 1.15), (0.05, 0.05, 0.05))


def four_exits() -> ExitPredictions:
    """Random logits of four exits, 60 samples, three classes."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 60, 3)).astype(np.float32)
    return ExitPredictions(logits, generator.integers(3, size=60), COSTS, weights="w", backend="here")


def test_heads_that_are_left_out_cost_nothing() -> None:
    """Costs of those that stay are without them, and so are their own differences."""
    few = restricted(four_exits(), (1, 3))
    assert few.exits == 2
    np.testing.assert_allclose(few.costs.reached, (0.45, 1.05))
    assert few.costs.heads == (0.05,)
    assert (few.weights, few.backend) == ("w", "here")


@pytest.mark.parametrize("kept", [(1, 3), (0, 2, 3), (0, 1, 2, 3), (3,)])
def test_a_widened_policy_does_the_same(kept: tuple[int, ...]) -> None:
    """Answers, exits and costs of few exits and of all with the others switched off."""
    pred = four_exits()
    few = restricted(pred, kept)
    policy = Policy((0.5,) * (len(kept) - 1), temperatures=tuple(1.0 + 0.1 * place for place in range(len(kept))))
    wide = widened(policy, kept, pred.exits)
    assert wide.in_use == kept
    narrow, broad = outcome_of(policy, few), outcome_of(wide, pred)
    assert broad.labels.tolist() == narrow.labels.tolist()
    assert broad.exits.tolist() == [kept[exit_] for exit_ in narrow.exits]
    np.testing.assert_allclose(broad.costs, narrow.costs)


def test_the_final_exit_always_stays() -> None:
    """Whatever is named besides, in whatever order."""
    assert kept_exits([2, 0], 4) == (0, 2, 3)
    assert kept_exits([], 4) == (3,)


@pytest.mark.parametrize("named", [(3,), (-1,), (0, 0), (9,)])
def test_exits_that_are_none_are_refused(named: tuple[int, ...]) -> None:
    """Also the final one, which is always in use."""
    with pytest.raises(ConfigurationError, match=r"Expected different exits among 0 \.\.\. 2"):
        kept_exits(named, 4)


def test_cascaded_ones_keep_those_before() -> None:
    """They read these."""
    assert kept_exits([0, 1], 4, cascaded=True) == (0, 1, 3)
    with pytest.raises(ConfigurationError, match="cascaded"):
        kept_exits([1], 4, cascaded=True)
