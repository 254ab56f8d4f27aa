"""A speed-up that costs more accuracy than was promised is said to."""

from __future__ import annotations

import pytest

from shallowdeep.bench.loss_warning import Lost, loss_warning
from shallowdeep.exits.promises import Promise, points

TWO = "Speed-up at a loss of 3.41 to 3.52 points (batch sizes 1, 64); the policy promises"
CHANCE = ", but on so few images it may be chance"


def promise(loss: float, risk: str = "accuracy-gap") -> Promise:
    """That at most so much is lost."""
    return Promise("as said", risk, loss, 0.95, "own final exit", 400, "betting", 0.01)


def lost(size: int, loss: float | None, low: float | None = None, disagreement: float = 0.0) -> Lost:
    """At one batch size; the interval begins half a point below unless said."""
    return Lost(size, loss, loss - 0.005 if loss is not None and low is None else low, disagreement)


@pytest.mark.parametrize(
    ("promised", "expected"),
    [
        (None, f"{TWO} nothing"),
        (0.02, f"{TWO} at most 2 points"),
        (0.035, f"Speed-up at a loss of 3.52 points (batch size 64); the policy promises at most 3.5 points{CHANCE}"),
        (0.04, None),
    ],
)
def test_a_loss_beyond_the_promise_is_told(promised: float | None, expected: str | None) -> None:
    """At which batch sizes, and what was promised; whether the interval holds the promise."""
    given = None if promised is None else promise(promised)
    assert loss_warning([lost(1, 0.0341), lost(8, 0.001), lost(64, 0.0352)], given) == expected


def test_a_loss_of_a_point_or_of_what_was_promised_is_none() -> None:
    """The limits themselves are kept, without a promise and with one; gains are no losses."""
    assert loss_warning([lost(1, 1 / 100), lost(8, -0.2)], None) is None
    assert loss_warning([lost(1, 2 / 100)], promise(0.02)) is None
    assert loss_warning([lost(1, 0.02)], promise(0.01)) is not None


def test_one_image_too_few_is_said_to_be_chance() -> None:
    """The interval reaches below the limit at every batch size that is named."""
    warning = loss_warning([lost(1, 1 / 15, -0.05)], None)
    assert warning is not None
    assert warning.endswith(f"(batch size 1); the policy promises nothing{CHANCE}")
    sure = loss_warning([lost(1, 1 / 15, -0.05), lost(64, 0.05, 0.04)], None)
    assert sure is not None
    assert "chance" not in sure


def test_promises_on_disagreement_are_compared_with_other_answers() -> None:
    """Without labels too, and where right answers replace as many as they cost."""
    other = [lost(1, 0.0, disagreement=0.03), lost(8, None, disagreement=0.01)]
    assert loss_warning(other, promise(0.02, "disagreement")) == (
        "Speed-up at 3.00 % of answers other than the static network's (batch size 1); the policy promises at most 2 %"
    )
    assert loss_warning(other, promise(0.03, "disagreement")) is None


def test_nothing_is_said_of_losses_that_are_not_known() -> None:
    """No labels, no warning."""
    assert loss_warning([lost(1, None, disagreement=0.5)], promise(0.01)) is None


def test_points_have_a_plural() -> None:
    """But for one."""
    assert [points(share) for share in (0.01, 0.005, 0.02)] == ["1 point", "0.5 points", "2 points"]
