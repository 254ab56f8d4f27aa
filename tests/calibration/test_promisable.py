"""What a number of images can promise: suggestions that work, and lines that say how to have more."""

from __future__ import annotations

import pytest

from shallowdeep.calibration.calibrate import check_sizes
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.promisable import promisable, suggested_loss, suggested_objective, suggested_option
from shallowdeep.errors import UnknownNameError


@pytest.mark.parametrize(
    ("certify", "loss"), [(0, None), (117, None), (118, 0.05), (267, 0.03), (400, 0.02), (602, 0.01), (9000, 0.01)]
)
def test_the_smallest_loss_with_twice_the_images_that_a_flawless_policy_needs(certify: int, loss: float | None) -> None:
    """Never one that calibrate would refuse; without enough images a budget."""
    assert suggested_loss(certify) == loss
    assert suggested_option(certify) == ("--budget 0.5" if loss is None else f"--max-accuracy-loss {loss:g}")
    if loss is not None:
        check_sizes(Objective(max_accuracy_loss=loss), certify)


def test_a_budget_is_above_the_first_exit_s_cost() -> None:
    """A multiple of .05, with a little room; .5 where the first exit costs less."""
    assert [suggested_option(0, cost) for cost in (0.1, 0.48, 0.49, 0.7171, 0.93)] == [
        "--budget 0.5", "--budget 0.5", "--budget 0.55", "--budget 0.75", "--budget 0.95",
    ]  # fmt: skip


def test_a_higher_confidence_takes_more_images() -> None:
    """602 images do for 95 %, not for 99 %; disagreement takes a few fewer."""
    assert suggested_loss(602, confidence=0.99) == 0.02
    assert suggested_loss(598, risk="disagreement") == 0.01


def test_other_settings_count() -> None:
    """Abstaining takes half of the images; signal and fallback are kept; a wrong one is refused."""
    assert suggested_objective(400, signal="entropy") == Objective(max_accuracy_loss=0.02, signal="entropy")
    assert suggested_objective(400, abstain=0.1) == Objective(max_accuracy_loss=0.03, abstain=0.1)
    assert suggested_objective(10, fallback="most-confident") == Objective(budget=0.5, fallback="most-confident")
    with pytest.raises(UnknownNameError, match="signal"):
        suggested_objective(400, signal="sure")


def test_the_line_says_what_is_possible_and_how_to_have_more() -> None:
    """The fraction named leaves as many as it says; where none does, held-out images are named alone."""
    line = promisable(267, held=4000)
    assert line.startswith("267 images kept for promises (certify): at best they promise a loss of at most 1.2 points;")
    assert (
        "for 1 point take some 602: --calibration-fraction 0.23, or images that it has not seen by calibrate --data"
        in line
    )
    assert 4000 * 0.23 * 2 / 3 >= 602 > 4000 * 0.22 * 2 / 3
    assert "calibration/CLASS" in promisable(40, held=500)
    assert "--calibration-fraction" not in promisable(40, held=500)
    assert "--calibration-fraction" not in promisable(267, held=None)
    assert promisable(3333, held=50_000).endswith("a loss of at most 0.1 points")
    assert "too few for any" in promisable(0, held=3)
    assert promisable(1, held=15).startswith("1 image kept")
