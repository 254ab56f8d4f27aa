"""Learning rates over training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shallowdeep.training.hyperparameters import EVERYTHING, HEADS, OneCycle, Steps, hyperparameters


@pytest.mark.parametrize(("epochs", "drops"), [(100, (35, 60, 85)), (20, (7, 12, 17)), (40, (14, 24, 34))])
def test_steps_scale_with_the_epochs(epochs: int, drops: tuple[int, ...]) -> None:
    """The rate falls to a tenth exactly at the epochs that are 35, 60 and 85 % of all."""
    schedule = hyperparameters(EVERYTHING, "resnet56", "paper").schedule
    for number, drop in enumerate(drops):
        assert schedule.multiplier(drop / epochs) == pytest.approx(0.1 ** (number + 1))
        assert schedule.multiplier((drop - 1) / epochs) == pytest.approx(0.1**number)


def test_internal_classifiers_slow_down_after_15_of_25_epochs() -> None:
    """The paper's schedule for internal classifiers has one step, at 60 %."""
    schedule = hyperparameters(HEADS, "vgg16").schedule
    assert [schedule.multiplier(epoch / 25) for epoch in (0, 14, 15, 24)] == pytest.approx([1, 1, 0.1, 0.1])


def test_one_cycle_rises_to_the_peak_and_ends_near_zero() -> None:
    """One cycle starts at a thousandth, peaks after its warm-up, and ends where it began."""
    cycle = OneCycle(0.25)
    assert [cycle.multiplier(done) for done in (0, 0.125, 0.25, 0.625, 1)] == pytest.approx(
        [0.001, 0.5005, 1, 0.5005, 0.001]
    )


@given(st.floats(0, 1), st.sampled_from([OneCycle(0.2), OneCycle(0.5), Steps((0.35, 0.6, 0.85))]))
def test_multipliers_are_shares_of_the_peak(done: float, schedule: OneCycle | Steps) -> None:
    """No schedule leaves (0, 1]."""
    assert 0 < schedule.multiplier(done) <= 1
