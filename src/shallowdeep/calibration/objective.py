"""What a policy is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.calibration.abstention_fit import check_error_rate
from shallowdeep.calibration.policy_search import check_budget, check_loss, with_threshold
from shallowdeep.calibration.risk import ACCURACY_GAP
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.signals import DEFAULT_SIGNAL, ENSEMBLE


@dataclass(frozen=True)
class Wish:
    """What a policy is asked for: exactly one of the first three.

    Attributes:
        threshold: the paper's rule.
        budget: highest mean relative cost on ``tune``.
        max_accuracy_loss: a fraction, promised with ``confidence``.
        confidence: of the promise.
        risk: ``accuracy-gap`` or ``disagreement``.
        signal: what is compared with thresholds.
        fallback: who answers when no exit is confident.
        max_relative_cost: no sample costs more.
        temperatures: fit one for each exit, used where each has its own threshold; None for all but the paper's rule
            and the signal ``ensemble``, which takes none.
        abstain: largest error rate among answers, promised with ``confidence``; None to answer always.
    """

    threshold: float | None = None
    budget: float | None = None
    max_accuracy_loss: float | None = None
    confidence: float = 0.95
    risk: str = ACCURACY_GAP
    signal: str = DEFAULT_SIGNAL
    fallback: str = "final"
    max_relative_cost: float | None = None
    temperatures: bool | None = None
    abstain: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("threshold", "budget", "max_accuracy_loss") if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(f"--{name.replace('_', '-')}" for name in given) or "none"
            raise ConfigurationError(f"Expected one of --threshold, --budget and --max-accuracy-loss, got {got}")


def check_wish(wish: Wish, shape: Policy) -> None:
    """Refuse a wish that makes no sense before any data is read."""
    if wish.threshold is not None:
        with_threshold(shape, wish.threshold)
    if wish.temperatures and wish.signal == ENSEMBLE:
        raise ConfigurationError(f"Expected no --temperatures beside the signal {ENSEMBLE!r}, whose weights do as much")
    if wish.budget is not None:
        check_budget(wish.budget)
    if wish.abstain is not None:
        check_error_rate(wish.abstain, wish.confidence)
    if wish.max_accuracy_loss is not None:
        check_loss(wish.max_accuracy_loss, wish.confidence, wish.risk)
