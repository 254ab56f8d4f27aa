"""To find how doubtful an answer may be, so that those given are wrong rarely enough, with a stated confidence.

Thresholds come from ``tune`` and are tested on ``certify``, from the one for which the lowest error rate can be
promised (with fewer answers one error weighs too much) to all answers. Given that m samples are answered, their errors
are binomial, so each test is exact; the walk stops before the first that fails (fixed sequence). The error rate asked
for has no part in indicator and thresholds, so a laxer one never withholds more.

Source: Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017; Angelopoulos et al.,
"Learn then Test", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv

from shallowdeep.calibration.certification import SHARED
from shallowdeep.calibration.risk import DISAGREEMENT, LEAST_RISK, last_passing, samples_needed
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.abstention import CONFUSION, INDICATORS, Abstention, AnswersGiven, doubts
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.policy import Decisions, Policy, decide
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.promises import AnswersPromise

STEPS = 100  # thresholds tested at most: each is one more chance to stop
_ROUNDING = 1e-9
_BAD_LUCK = 2  # errors more than on tune that certify may have: few answers without an error may be luck

Doubts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answered:
    """A policy's answers on one split, and how doubtful each is.

    Args:
        wrong: (N,) bool.
        doubts: (N,) by indicator; ``confusion`` only where statistics are known.
    """

    wrong: NDArray[np.bool_]
    doubts: dict[str, Doubts]


def answered(policy: Policy, pred: ExitPredictions, statistics: ConfusionStatistics | None) -> Answered:
    """Return what a policy answers on a split, and its doubts: what an engine must agree with.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits.
        statistics: of confusion on training data, or None.
    """
    logits = to_numpy(pred.logits)
    decisions = decide(policy, logits, pred.costs)
    confused = None if statistics is None else confusion_of(policy, logits, decisions, statistics)
    names = [name for name in INDICATORS if name != CONFUSION or confused is not None]
    found = {name: np.asarray(doubts(name, decisions.confidences, confused), dtype=np.float64) for name in names}
    return Answered(decisions.labels != to_numpy(pred.labels), found)


def confusion_of(
    policy: Policy, logits: NDArray[Any], decisions: Decisions, statistics: ConfusionStatistics
) -> NDArray[np.float32]:
    """Return the z-scored confusion (N,) of each answer at the exit where it was given; not a number at the first.

    Args:
        policy: its exits in use count.
        logits: (E, N, C) of all exits.
        decisions: of the policy on them.
        statistics: of training data.
    """
    found = np.full(logits.shape[1], np.nan, dtype=np.float32)
    for place, exit_ in enumerate(policy.in_use[1:], start=1):
        here = decisions.exits == exit_
        if here.any():
            values = confusion(logits[list(policy.in_use[: place + 1])][:, here])
            found[here] = statistics.normalised(values, exit_, policy.in_use)
    return found


def with_abstention(
    policy: Policy, tune: Answered, certify: Answered, *, error_rate: float, confidence: float
) -> Policy:
    """Return the policy that withholds answers, so that at most ``error_rate`` of those it gives are wrong.

    The indicator is the one with the lowest error rate on ``tune``, averaged over how many are answered.

    Args:
        policy: whose answers they are.
        tune: its answers on the split that indicator and thresholds are chosen on.
        certify: its answers on the split that they are tested on.
        error_rate: in (0, 1), among the answers given.
        confidence: in (0, 1).

    Raises:
        ConfigurationError: a value out of range, too few samples, or nothing that can be promised.
    """
    check_error_rate(error_rate, confidence)
    delta, samples = 1 - confidence, len(certify.wrong)
    check_enough_to_abstain(samples, error_rate=error_rate, confidence=confidence)
    usable = [name for name, values in tune.doubts.items() if np.isfinite(values).any()]
    indicator = min(usable, key=lambda name: _mean_error_rate(tune.doubts[name], tune.wrong))
    thresholds = _thresholds(tune.doubts[indicator], tune.wrong, samples, delta)
    given = certify.doubts[indicator] <= thresholds[:, None]  # (T, N)
    counts, wrong = given.sum(axis=1), (given & certify.wrong).sum(axis=1)
    values = np.where(counts > 0, bdtr(wrong, np.maximum(counts, 1), error_rate), 1.0)
    chosen = last_passing(values, delta)
    if chosen is None:
        raise ConfigurationError(
            f"Expected an error rate among answers that can be promised, got {100 * error_rate:g} %: not even of the "
            f"surest {int(counts[0]):,} answers on certify few enough are wrong"
        )
    share = float(counts[chosen] / samples)
    promise = AnswersPromise(
        sentence=_sentence(error_rate, confidence, samples, share),
        error_rate=error_rate,
        confidence=confidence,
        samples=samples,
        answered_share=share,
        error_rate_on_certify=float(wrong[chosen] / counts[chosen]),
        test="exact binomial, fixed sequence",
        p_value=float(values[chosen]),
    )
    return replace(policy, abstention=Abstention(indicator, float(thresholds[chosen]), promise))


def check_error_rate(error_rate: float, confidence: float) -> None:
    """Refuse an error rate or a confidence that makes no sense.

    Raises:
        ConfigurationError: naming it.
    """
    if not LEAST_RISK <= error_rate < 1:
        raise ConfigurationError(f"Expected an error rate in [{LEAST_RISK}, 1), such as 0.02, got {error_rate}")
    if not 0 < confidence < 1:
        raise ConfigurationError(f"Expected a confidence in (0, 1), got {confidence}")


def check_enough_to_abstain(samples: int, *, error_rate: float, confidence: float, parts: int = 1) -> None:
    """Refuse a ``certify`` split on which not even flawless answers could be promised.

    Raises:
        ConfigurationError: naming the size needed.
    """
    needed = samples_needed(DISAGREEMENT, error_rate, 1 - confidence)
    if samples < needed:
        raise ConfigurationError(
            f"Expected at least {needed:,} certify samples to promise at most {100 * error_rate:g} % errors among "
            f"answers with {100 * confidence:g} % confidence, got {samples:,}{SHARED if parts > 1 else ''}"
        )


def answers_given(policy: Policy, given: Answered) -> AnswersGiven:
    """Return what withholding comes to on a split."""
    if policy.abstention is None:
        return AnswersGiven(1.0, float(given.wrong.mean()))
    kept = given.doubts[policy.abstention.indicator] <= policy.abstention.threshold
    return AnswersGiven(float(kept.mean()), float(given.wrong[kept].mean()) if kept.any() else None)


def _thresholds(values: Doubts, wrong: NDArray[np.bool_], samples: int, delta: float) -> Doubts:
    """Return thresholds to test, rising, from the one that should allow the lowest promise on ``samples``, by ``tune``.

    What it allows is the exact upper bound on the error rate at level ``delta``.
    """
    found = np.quantile(values, np.linspace(0, 1, STEPS + 1)[1:], method="inverted_cdf")
    found = np.unique(found[np.isfinite(found)])
    given = values <= found[:, None]
    counts, errors = given.sum(axis=1), (given & wrong).sum(axis=1) + _BAD_LUCK
    expected = counts * samples / len(values)
    expected_errors = np.minimum(errors / counts, 1.0) * expected
    bounds = betaincinv(expected_errors + 1, np.maximum(expected - expected_errors, _ROUNDING), 1 - delta)
    return found[bounds.argmin() :]


def _mean_error_rate(values: Doubts, wrong: NDArray[np.bool_]) -> float:
    """Return the error rate among the least doubtful samples of ``tune``, averaged over how many they are (AURC)."""
    order = np.argsort(values, kind="stable")
    rates = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    together = np.searchsorted(values[order], values[order], side="right") - 1  # equally doubtful ones
    return float(rates[together].mean())


def _sentence(error_rate: float, confidence: float, samples: int, share: float) -> str:
    return (
        f"With {100 * confidence:g} % confidence over the draw of the {samples:,} certify images, at most "
        f"{100 * error_rate:g} % of the answers that this policy gives are wrong (it gave one for {100 * share:.1f} % "
        "of these images), if images come independently from the distribution the calibration split came from, and the "
        "network was not trained on that split; not if they are shifted, or chosen to fool it."
    )
