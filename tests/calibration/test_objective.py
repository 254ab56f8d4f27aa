"""An objective is one aim, within its range."""

from __future__ import annotations

import pytest

from shallowdeep.calibration.objective import Objective
from shallowdeep.errors import ConfigurationError, UnknownNameError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Expected one of threshold, budget, max_accuracy_loss, got none"),
        ({"threshold": 0.5, "budget": 0.5}, "got threshold and budget"),
        ({"threshold": -0.1}, "threshold"),
        ({"budget": 0.0}, "Expected a budget above 0, got 0"),
        ({"budget": float("nan")}, "Expected a budget above 0, got nan"),
        ({"budget": 50}, "such as 0.5 for half of it, got 50"),
        ({"max_accuracy_loss": 1}, "such as 0.01 for a point, got 1"),
        ({"max_accuracy_loss": 0.01, "confidence": 1.0}, "Expected a confidence in"),
        ({"budget": 0.5, "abstain": 2}, "Expected an error rate"),
        ({"budget": 0.5, "signal": "ensemble", "temperatures": True}, "Expected no temperatures"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, float], message: str) -> None:
    """The message names the value and, where a unit may be mistaken, an example."""
    with pytest.raises(ConfigurationError, match=message):
        Objective(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"risk": "regret"}, {"signal": "mood"}, {"fallback": "mood"}, {"signal": "Entropy"}]
)
def test_unknown_names_are_refused(settings: dict[str, str]) -> None:
    """With the names that there are."""
    with pytest.raises(UnknownNameError):
        Objective(max_accuracy_loss=0.01, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "fits", "promises"),
    [
        ({"threshold": 0.5}, False, 0),
        ({"threshold": 0.5, "temperatures": True}, True, 0),
        ({"budget": 0.5}, True, 0),
        ({"budget": 0.5, "temperatures": False}, False, 0),
        ({"budget": 0.5, "signal": "ensemble"}, False, 0),
        ({"max_accuracy_loss": 0.01}, True, 1),
        ({"max_accuracy_loss": 0.01, "abstain": 0.1}, True, 2),
    ],
)
def test_temperatures_and_promises_follow(settings: dict[str, object], fits: bool, promises: int) -> None:
    """Temperatures are fitted unless the rule is the paper's or an ensemble's; promises share certify."""
    objective = Objective(**settings)  # type: ignore[arg-type]
    assert (objective.fits_temperatures, objective.promises) == (fits, promises)


def test_the_base_policy_holds_the_settings() -> None:
    """Signal, fallback and cost limit; no exit is in use yet."""
    objective = Objective(budget=0.5, signal="margin", fallback="most-confident", max_relative_cost=0.7)
    base = objective.base(4)
    assert base.thresholds == (None, None, None)
    assert (base.signal, base.fallback, base.max_relative_cost) == ("margin", "most-confident", 0.7)
