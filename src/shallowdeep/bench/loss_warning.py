"""When a speed-up costs more accuracy than was promised, or than goes unnoticed (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shallowdeep.exits.promises import Promise, points

UNPROMISED = 0.01
"""Accuracy lost, a fraction, above which a policy without a promise is warned about: 1 point."""

DISAGREEMENT = "disagreement"  # a risk that promises bound


class Lost(NamedTuple):
    """What the engine loses at one batch size.

    Attributes:
        batch_size: images in a batch.
        loss: accuracy of the static network minus that of the engine, a fraction; None where it is not known.
        low: lower end of its 95 % interval; None where it is not known.
        disagreement: share of images that the two answer otherwise.
    """

    batch_size: int
    loss: float | None
    low: float | None
    disagreement: float


def loss_warning(lost: Sequence[Lost], promise: Promise | None) -> str | None:
    """Return one sentence where the loss on the images timed exceeds the promise, or 1 point without one; else None.

    Args:
        lost: one a batch size.
        promise: of the policy; one on disagreement is compared with the share of other answers.
    """
    if promise is not None and promise.risk == DISAGREEMENT:
        return _disagreement_warning(lost, promise)
    limit = UNPROMISED if promise is None else promise.max_loss
    beyond = [(one.batch_size, one.loss, one.low) for one in lost if one.loss is not None and one.loss > limit]
    if not beyond:
        return None
    loss, where = _span([100 * loss for _, loss, _ in beyond]), _named([size for size, _, _ in beyond])
    allowed = "nothing" if promise is None else f"at most {points(limit)}"
    chance = all(low is not None and low <= limit for _, _, low in beyond)
    return (
        f"Speed-up at a loss of {loss} points ({where}); the policy promises {allowed}"
        f"{', but on so few images it may be chance' if chance else ''}"
    )


def _disagreement_warning(lost: Sequence[Lost], promise: Promise) -> str | None:
    """The sentence for a promise on disagreement."""
    beyond = [one for one in lost if one.disagreement > promise.max_loss]
    if not beyond:
        return None
    shares = _span([100 * one.disagreement for one in beyond])
    return (
        f"Speed-up at {shares} % of answers other than the static network's "
        f"({_named([one.batch_size for one in beyond])}); the policy promises at most {100 * promise.max_loss:g} %"
    )


def _span(values: Sequence[float]) -> str:
    """The lowest and the highest, or one where they look alike."""
    low, high = (f"{extreme(values):.2f}" for extreme in (min, max))
    return low if low == high else f"{low} to {high}"


def _named(sizes: Sequence[int]) -> str:
    return f"batch size{'s' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"
