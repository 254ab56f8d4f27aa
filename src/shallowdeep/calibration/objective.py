"""What a policy is asked for: a threshold, a budget, or a largest accuracy loss."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from shallowdeep.calibration.abstention_fit import check_error_rate
from shallowdeep.calibration.risk import ACCURACY_GAP, LEAST_RISK, RISKS
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.policy import FALLBACKS, Policy, shared_threshold
from shallowdeep.exits.signals import DEFAULT_SIGNAL, ENSEMBLE

KINDS = ("threshold", "budget", "max_accuracy_loss")
_MOST = 2.0  # of the backbone's cost: a network with all its heads costs less, and more is likely meant in per cent


@dataclass(frozen=True)
class Objective:
    """What a policy is asked for: exactly one of the first three.

    Attributes:
        threshold: the paper's rule, one threshold for all exits, at least 0; above 1 no sample leaves early.
        budget: highest mean relative cost on ``tune``.
        max_accuracy_loss: a fraction in (0, 1), promised with ``confidence``; 0.01 is one point.
        confidence: of the promise, in (0, 1).
        risk: ``accuracy-gap`` or ``disagreement``.
        signal: what is compared with thresholds, one of `shallowdeep.exits.signals.SIGNALS`.
        fallback: who answers when no exit is confident, ``final`` or ``most-confident``.
        max_relative_cost: no sample costs more; None for no limit.
        temperatures: fit one for each exit, used where each has its own threshold; None for all but the paper's rule
            and the signal ``ensemble``, which takes none.
        abstain: largest error rate among answers, promised with ``confidence``; None to answer always.

    Raises:
        ConfigurationError: none or several of the first three, or a value out of range.
    """

    threshold: float | None = None
    budget: float | None = None
    max_accuracy_loss: float | None = None
    confidence: float = 0.95
    risk: str = ACCURACY_GAP
    signal: str = DEFAULT_SIGNAL
    fallback: str = FALLBACKS[0]
    max_relative_cost: float | None = None
    temperatures: bool | None = None
    abstain: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigurationError(f"Expected one of {', '.join(KINDS)}, got {' and '.join(given) or 'none'}")
        self.base(exits=1)  # refuses an unknown signal or fallback, and a cost limit that is none
        if self.threshold is not None:
            shared_threshold(self.threshold, 2)
        if self.temperatures and self.signal == ENSEMBLE:
            raise ConfigurationError(
                f"Expected no temperatures beside the signal {ENSEMBLE!r}, whose weights do as much"
            )
        if self.budget is not None:
            check_budget(self.budget)
        if self.abstain is not None:
            check_error_rate(self.abstain, self.confidence)
        if self.max_accuracy_loss is not None:
            check_loss(self.max_accuracy_loss, self.confidence, self.risk)

    def base(self, exits: int) -> Policy:
        """Return the policy of E exits without thresholds that the one found is built on."""
        return Policy((None,) * (exits - 1), self.signal, self.fallback, (), self.max_relative_cost)

    @property
    def fits_temperatures(self) -> bool:
        """Whether temperatures are fitted."""
        by_default = self.threshold is None and self.signal != ENSEMBLE  # an ensemble's weights do it already
        return by_default if self.temperatures is None else self.temperatures

    @property
    def promises(self) -> int:
        """How many promises share ``certify``."""
        return (self.max_accuracy_loss is not None) + (self.abstain is not None)


def check_budget(budget: float) -> None:
    """Refuse a budget that makes no sense.

    Raises:
        ConfigurationError: it is not above 0, or no share.
    """
    if not 0 < budget < inf:  # also true of nan
        raise ConfigurationError(f"Expected a budget above 0, got {budget}")
    if budget > _MOST:
        raise ConfigurationError(
            f"Expected a budget as a share of the backbone's cost, such as 0.5 for half of it, got {budget:g}"
        )


def check_loss(loss: float, confidence: float, risk: str) -> None:
    """Refuse a largest loss, a confidence or a risk that makes no sense.

    Raises:
        ConfigurationError: naming it.
    """
    if not LEAST_RISK <= loss < 1:
        raise ConfigurationError(
            f"Expected a largest accuracy loss in [{LEAST_RISK}, 1), such as 0.01 for a point, got {loss}"
        )
    if not 0 < confidence < 1:
        raise ConfigurationError(f"Expected a confidence in (0, 1), got {confidence}")
    if risk not in RISKS:
        raise UnknownNameError("risk", risk, RISKS)
