"""Not to answer where an answer is too likely wrong."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.arrays import Array, namespace_of
from shallowdeep.exits.promises import AnswersPromise

CONFIDENCE, CONFUSION = INDICATORS = ("confidence", "confusion")


@dataclass(frozen=True)
class Abstention:
    """Above which doubt a policy's answer is withheld.

    Attributes:
        indicator: ``confidence`` (doubt is 1 - the answer's confidence by the policy's signal) or ``confusion`` (doubt
            is its z-score at the exit that answers; none at the first exit in use).
        threshold: largest doubt that is answered.
        promise: what is guaranteed, and with what assumptions; None for nothing.

    Raises:
        ConfigurationError: an indicator that is none, or a threshold that is no number.
    """

    indicator: str
    threshold: float
    promise: AnswersPromise | None = None

    def __post_init__(self) -> None:
        if self.indicator not in INDICATORS:
            raise UnknownNameError("indicator", self.indicator, INDICATORS)
        if not isfinite(self.threshold):
            raise ConfigurationError(f"Expected a finite threshold of abstention, got {self.threshold}")

    def withholds(self, confidences: Array, confusions: Array | None) -> Array:
        """Return which answers are withheld, (N,) bool, by their confidences (N,) and confusions (N,)."""
        return doubts(self.indicator, confidences, confusions) > self.threshold


@dataclass(frozen=True)
class AnswersGiven:
    """What withholding answers comes to on one split.

    Attributes:
        answered_share: share of the samples that get an answer, a fraction.
        error_rate: share of wrong answers among those given, a fraction; None where none is given.
    """

    answered_share: float
    error_rate: float | None


def doubts(indicator: str, confidences: Array, confusions: Array | None) -> Array:
    """Return how doubtful answers are, larger = likelier wrong.

    Args:
        indicator: one of `INDICATORS`.
        confidences: (N,) floating, of the answers.
        confusions: (N,) floating z-scores, not a number at the first exit in use; needed for ``confusion``.

    Returns:
        (N,) floating; minus infinity where confusion says nothing yet.

    Raises:
        ConfigurationError: confusions are needed and missing.
    """
    if indicator == CONFIDENCE:
        return 1 - confidences
    if confusions is None:
        raise ConfigurationError("Expected confusion to abstain by, got none")
    xp = namespace_of(confusions)
    return xp.where(xp.isnan(confusions), -inf, confusions)
