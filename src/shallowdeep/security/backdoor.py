"""What a trigger does at every exit, and what answering earlier mends: pure functions of predictions.

Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 5.3; depth, best exit and blind rule are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.analysis.confusion_levels import confusion_scores
from shallowdeep.analysis.error_detection import detection
from shallowdeep.analysis.histogram import shared_histograms
from shallowdeep.audits.backdoor_audit import (
    Answering,
    BackdoorFindings,
    TriggerConfusion,
    TriggeredExit,
    TriggerHistogram,
)
from shallowdeep.errors import DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import FALLBACKS, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import cheapest_within, choose_threshold, threshold_curve

WINS = 0.5
"""Share of triggered images from which on the trigger has won."""

TOLERATED_SUCCESS, TOLERATED_DROP = 0.1, 0.05  # of the best exit
BLIND_QUANTILE = 0.95  # of clean inputs' confusion
LOSSES, BUDGETS = (0.01, 0.05), (0.5, 0.25)  # of early exits

Labels = NDArray[Any]


def attack_success(logits: NDArray[Any], target: int) -> list[float]:
    """Return the share of triggered images answered as the attacker wants at every exit.

    Args:
        logits: (E, N, C) on triggered images of other classes than the target.
        target: in [0, C).
    """
    return [float(share) for share in (logits.argmax(axis=-1) == target).mean(axis=-1)]


def trigger_depth(success: Sequence[float]) -> int | None:
    """Return the first exit where the trigger wins over half of the images; None where it never does."""
    return next((number for number, share in enumerate(success) if share > WINS), None)


def best_exit(success: Sequence[float], accuracy: Sequence[float]) -> int | None:
    """Return the deepest exit with success of at most 10 % and 5 points less clean accuracy than the final exit's.

    Args:
        success: (E,) of the attack.
        accuracy: (E,) on clean images.

    Returns:
        None where there is no such exit.
    """
    fit = [
        number
        for number, (won, right) in enumerate(zip(success, accuracy, strict=True))
        if won <= TOLERATED_SUCCESS and right >= accuracy[-1] - TOLERATED_DROP
    ]
    return fit[-1] if fit else None


def blind_answers(pred: ExitPredictions, statistics: ConfusionStatistics | None, limit: float) -> Labels:
    """Return the final answers, and where confusion passes ``limit`` those of most of the first half of the exits.

    It knows neither trigger nor target. Of classes that as many exits name, the one with more probability wins.

    Returns:
        (N,) integers.
    """
    logits = to_numpy(pred.logits)
    first = logits[: max(1, pred.exits // 2)].astype(np.float64)
    shares = np.exp(first - first.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    votes = np.eye(pred.classes)[first.argmax(axis=-1)].sum(axis=0) + shares.mean(axis=0) / 2
    doubtful = confusion_scores(logits, statistics) > limit
    answers: Labels = np.where(doubtful, votes.argmax(axis=-1), logits[-1].argmax(axis=-1))
    return answers


@dataclass(frozen=True, eq=False)
class Looks:
    """Predictions of one network on clean and on triggered images.

    Attributes:
        tune: on clean images that everything is chosen on.
        tune_triggered: on those of other classes than the target, with the trigger, under their true labels.
        clean: on the clean images shown.
        triggered: on those of other classes than the target, with the trigger, under their true labels.
    """

    tune: ExitPredictions
    tune_triggered: ExitPredictions
    clean: ExitPredictions
    triggered: ExitPredictions


def backdoor_findings(
    looks: Looks,
    target: int,
    *,
    names: Sequence[str],
    statistics: ConfusionStatistics | None = None,
) -> BackdoorFindings:
    """Return what a trigger does to one network.

    Args:
        looks: at it.
        target: the class that the attacker wants.
        names: E of the exits.
        statistics: of training data, for z-scores of confusion; None for values as they are.

    Raises:
        DataError: a network without internal classifiers, or triggered images of the target class.
    """
    clean, triggered = looks.clean, looks.triggered
    if clean.exits == 1:
        raise DataError("Expected a network with internal classifiers, got one whose only exit is its own")
    if (to_numpy(triggered.labels) == target).any():
        raise DataError("Expected triggered images of other classes than the target, got some of it")
    success = attack_success(to_numpy(triggered.logits), target)
    right, still = (correctness(pred).mean(axis=-1).tolist() for pred in (clean, triggered))
    exits = tuple(
        TriggeredExit(name, float(cost), won, accuracy, kept)
        for name, cost, won, accuracy, kept in zip(names, clean.costs, success, right, still, strict=True)
    )
    known = best_exit(
        attack_success(to_numpy(looks.tune_triggered.logits), target), correctness(looks.tune).mean(axis=-1).tolist()
    )
    mitigation = _Mitigation(clean, triggered, target)
    return BackdoorFindings(
        exits,
        trigger_depth(success),
        _confusion(clean, triggered, statistics),
        mitigation=(
            mitigation.final(),
            mitigation.best(known),
            *mitigation.blind(looks.tune, statistics),
            *mitigation.early(looks.tune),
        ),
    )


def _confusion(
    clean: ExitPredictions, triggered: ExitPredictions, statistics: ConfusionStatistics | None
) -> TriggerConfusion:
    """AUROC, means and histogram of both."""
    on_clean, on_triggered = (confusion_scores(to_numpy(pred.logits), statistics) for pred in (clean, triggered))
    scores = np.concatenate([on_clean, on_triggered])
    return TriggerConfusion(
        auroc=detection(scores, np.repeat([False, True], [len(on_clean), len(on_triggered)])).auroc,
        clean_mean=float(on_clean.mean()),
        triggered_mean=float(on_triggered.mean()),
        normalised=statistics is not None,
        histogram=two_histograms(on_clean, on_triggered),
    )


def two_histograms(on_clean: NDArray[np.float64], on_triggered: NDArray[np.float64]) -> TriggerHistogram:
    """Return how often each confusion occurs in two groups, in common bins."""
    found = shared_histograms([on_clean, on_triggered])
    clean, triggered = found.counts
    return TriggerHistogram(found.edges, clean, triggered)


class _Mitigation:
    """Ways of answering, and what comes of them on clean and on triggered images."""

    def __init__(self, clean: ExitPredictions, triggered: ExitPredictions, target: int) -> None:
        self.clean, self.triggered, self.target = clean, triggered, target

    def row(self, name: str, rule: str, on_clean: Labels, on_triggered: Labels, cost: float) -> Answering:
        """One way: answers (N,) on both."""
        return Answering(
            name,
            rule,
            clean_accuracy=float((on_clean == to_numpy(self.clean.labels)).mean()),
            triggered_accuracy=float((on_triggered == to_numpy(self.triggered.labels)).mean()),
            attack_success=float((on_triggered == self.target).mean()),
            relative_cost=cost,
        )

    def alone(self, exit_: int) -> float:
        """What answering at one exit costs, without the other internal classifiers."""
        return float(self.clean.costs.in_use(sorted({exit_, self.clean.exits - 1}))[0])

    def at(self, name: str, rule: str, exit_: int) -> Answering:
        """The answers of one exit."""
        on_clean, on_triggered = (to_numpy(pred.logits)[exit_].argmax(axis=-1) for pred in (self.clean, self.triggered))
        return self.row(name, rule, on_clean, on_triggered, self.alone(exit_))

    def final(self) -> Answering:
        """Nothing done."""
        return self.at("none", "the final exit answers", self.clean.exits - 1)

    def best(self, exit_: int | None) -> Answering:
        """Stop everything at one exit, which takes knowing the trigger."""
        rule = (
            f"the deepest exit with success of at most {TOLERATED_SUCCESS:.0%} and {100 * TOLERATED_DROP:g} points "
            "less clean accuracy on tune, the trigger known"
        )
        if exit_ is None:
            return Answering("best exit", f"{rule}: there is none", None, None, None, None)
        return self.at("best exit", f"{rule}: exit {exit_}", exit_)

    def blind(self, tune: ExitPredictions, statistics: ConfusionStatistics | None) -> list[Answering]:
        """Doubt what confuses."""
        on_clean = confusion_scores(to_numpy(tune.logits), statistics)
        limit, whole = float(np.quantile(on_clean, BLIND_QUANTILE)), float(self.clean.costs[-1])
        rule = f"above the clean {BLIND_QUANTILE:.0%} quantile of confusion"
        voting, voted_triggered = (blind_answers(pred, statistics, limit) for pred in (self.clean, self.triggered))
        voted = self.row(
            "blind vote", f"{rule} most of the first half of the exits answer", voting, voted_triggered, whole
        )
        kept = [confusion_scores(to_numpy(p.logits), statistics) <= limit for p in (self.clean, self.triggered)]
        final = [to_numpy(pred.logits)[-1].argmax(axis=-1) for pred in (self.clean, self.triggered)]
        clean_left, triggered_left = (np.where(known, answer, -1) for known, answer in zip(kept, final, strict=True))
        clean_share, triggered_share = (float((~known).mean()) for known in kept)
        silence = (
            f"{rule} no answer (none for {clean_share:.1%} of clean and {triggered_share:.1%} of triggered images, "
            "which count as not right)"
        )
        abstained = self.row("blind abstention", silence, clean_left, triggered_left, whole)
        return [voted, replace(abstained, withheld=(clean_share, triggered_share))]

    def early(self, tune: ExitPredictions) -> list[Answering]:
        """The paper's: leave at the first confident exit, one threshold for all, chosen on clean images.

        Where no exit is confident the final one answers, or, as in the paper, the most confident.
        """
        curve, final = threshold_curve(tune), float(correctness(tune)[-1].mean())
        objectives = [
            (f"{100 * loss:g} pt", f"at most {100 * loss:g} points lost", cheapest_within(curve, loss, final))
            for loss in LOSSES
        ]
        objectives += [
            (f"{100 * budget:g} %", f"{100 * budget:g} % of the cost", choose_threshold(curve, budget))
            for budget in BUDGETS
        ]
        rows = []
        for short, objective, threshold in objectives:
            for fallback in FALLBACKS if threshold is not None else ():
                policy: Policy = shared_threshold(float(threshold or 0), tune.exits, fallback=fallback)
                on_clean, on_triggered = (outcome_of(policy, pred) for pred in (self.clean, self.triggered))
                found_for = f"{threshold:.3g} ({objective} on tune)"
                rule = f"first exit with confidence of at least {found_for}, else the {fallback} one"
                name = f"exit at {short}, else {fallback}"
                found = self.row(name, rule, on_clean.labels, on_triggered.labels, on_clean.relative_cost)
                rows.append(replace(found, triggered_relative_cost=on_triggered.relative_cost))
        return rows
