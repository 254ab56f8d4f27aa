"""Exits used for accuracy: where they disagree much, their mean answers instead of the last alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.bootstrap import Floats, Intervals, intervals_of_counts
from shallowdeep.exits.confusion import confusion
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import softmax

QUANTILES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class AnswerRule:
    """Where confusion is above ``threshold`` the mean probabilities of the last ``exits`` answer, else the final exit.

    Args:
        exits: how many of the last exits are averaged, the final one among them; 1 leaves every answer as it is.
        threshold: of confusion that is not normalised.
    """

    exits: int
    threshold: float

    def answers(self, logits: NDArray[Any]) -> NDArray[np.int64]:
        """Return the answers (N,) to logits (E, N, C)."""
        return _combined(logits, self.exits, np.asarray(confusion(logits)) > self.threshold)


@dataclass(frozen=True)
class AnswerRuleFindings:
    """What an answer rule gives on samples that had no part in fitting it.

    Attributes:
        rule: in words.
        accuracy: fraction, by the rule.
        final_accuracy: fraction, of the final exit.
        gain: the first less the second.
        changed: share of the samples answered otherwise than by the final exit.
        chosen_on: the split that the rule was fitted on.
        intervals: of the gain.
    """

    rule: str
    accuracy: float
    final_accuracy: float
    gain: float
    changed: float
    chosen_on: str
    intervals: Intervals


def fit_answer_rule(tune: ExitPredictions) -> AnswerRule:
    """Return the rule with the highest accuracy on ``tune``; of equal ones that with fewer exits, then less changed.

    Args:
        tune: NumPy predictions.
    """
    level = np.asarray(confusion(tune.logits))
    best, best_right = AnswerRule(1, float("inf")), int((tune.logits[-1].argmax(axis=-1) == tune.labels).sum())
    for exits in range(2, tune.exits + 1):
        for quantile in reversed(QUANTILES):
            threshold = float(np.quantile(level, quantile)) if quantile else -1.0
            right = int((_combined(tune.logits, exits, level > threshold) == tune.labels).sum())
            if right > best_right:
                best, best_right = AnswerRule(exits, threshold), right
    return best


def evaluate_answer_rule(rule: AnswerRule, pred: ExitPredictions, resamples: int, seed: int = 0) -> AnswerRuleFindings:
    """Return what a rule gives on a split that had no part in fitting it.

    Args:
        rule: fitted on ``tune``.
        pred: NumPy predictions.
        resamples: for the interval of the gain; 0 for none.
        seed: of the resampling.
    """
    final, mixed = pred.logits[-1].argmax(axis=-1), rule.answers(pred.logits)
    before, after = final == pred.labels, mixed == pred.labels
    cells = np.bincount(1 + after.astype(np.int64) - before, minlength=3)  # worse, equal, better

    def gain(counts: Floats) -> Mapping[str, Floats]:
        return {"gain": (counts[:, 2] - counts[:, 0]) / pred.samples}

    return AnswerRuleFindings(
        rule=_in_words(rule, pred.exits),
        accuracy=float(after.mean()),
        final_accuracy=float(before.mean()),
        gain=float(after.mean() - before.mean()),
        changed=float((final != mixed).mean()),
        chosen_on="tune",
        intervals=intervals_of_counts(cells, gain, resamples, seed),
    )


def _in_words(rule: AnswerRule, exits: int) -> str:
    if rule.exits == 1:
        return "the final exit always: no combination did better on tune"
    which = "all exits" if rule.exits == exits else f"the last {rule.exits} exits"
    where = "" if rule.threshold < 0 else f" where confusion (not normalised) is above {rule.threshold:.2f}"
    return f"mean probabilities of {which}{where}"


def _combined(logits: NDArray[Any], exits: int, mixed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the final answers, but the mean's of the last exits for the samples ``mixed``."""
    answers: NDArray[np.int64] = logits[-1].argmax(axis=-1)
    total = sum(softmax(one[mixed]) for one in logits[len(logits) - exits :])
    answers[mixed] = np.asarray(total).argmax(axis=-1)
    return answers
