"""What a policy does with a split: answers, exits, accuracy and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.abstention import AnswersGiven
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.exits.predictions import ExitPredictions


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a policy did with N samples, sample by sample.

    Attributes:
        labels: (N,) integers in [0, C), the answers.
        exits: (N,) integers in [0, E), where each stopped.
        costs: (N,) float64, relative to the backbone; heads that are switched off cost nothing.
        forced: (N,) bool, stopped by the policy's cost limit.
        confidences: (N,) float32, of the answer, by the policy's signal.
        right: (N,) bool.
    """

    labels: NDArray[Any]
    exits: NDArray[Any]
    costs: NDArray[np.float64]
    forced: NDArray[np.bool_]
    confidences: NDArray[Any]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share answered correctly."""
        return float(self.right.mean())

    @property
    def relative_cost(self) -> float:
        """Mean cost."""
        return float(self.costs.mean())

    def exit_shares(self, exits: int) -> tuple[float, ...]:
        """Share of the samples that stop at each of the E exits; they add up to 1."""
        return tuple((np.bincount(self.exits, minlength=exits) / len(self.exits)).tolist())


def outcome_of(policy: Policy, pred: ExitPredictions) -> Outcome:
    """Return what a policy does with a split; `decide` decides.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits on one split.

    Raises:
        ShallowDeepError: policy and predictions do not go together, or no exit is within the cost limit.
    """
    decisions = decide(policy, to_numpy(pred.logits), pred.costs)
    reached = np.zeros(pred.exits)
    reached[list(policy.in_use)] = pred.costs.in_use(policy.in_use)
    right = decisions.labels == to_numpy(pred.labels)
    return Outcome(
        decisions.labels, decisions.exits, reached[decisions.exits], decisions.forced, decisions.confidences, right
    )


@dataclass(frozen=True)
class OutcomeSummary:
    """What a policy comes to on one split; fractions, all but ``samples``.

    Attributes:
        samples: N.
        accuracy: share answered correctly.
        final_accuracy: of the network's own final exit.
        accuracy_lost: the latter minus the former.
        disagreement: share answered otherwise than by the final exit.
        relative_cost: mean.
        exit_shares: (E,) share that stops at each exit.
        forced: share stopped by the policy's cost limit.
        answered: which samples get an answer; None where that was not looked at.
        relative_time: mean share of the static network's time, as a plan measured it; None without one.
    """

    samples: int
    accuracy: float
    final_accuracy: float
    accuracy_lost: float
    disagreement: float
    relative_cost: float
    exit_shares: tuple[float, ...]
    forced: float
    answered: AnswersGiven | None = None
    relative_time: float | None = None


def summarize(policy: Policy, pred: ExitPredictions) -> OutcomeSummary:
    """Return what a policy comes to on one split.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits.
    """
    outcome = outcome_of(policy, pred)
    final = final_answers(pred)
    final_accuracy = float((final == to_numpy(pred.labels)).mean())
    return OutcomeSummary(
        samples=pred.samples,
        accuracy=outcome.accuracy,
        final_accuracy=final_accuracy,
        accuracy_lost=final_accuracy - outcome.accuracy,
        disagreement=float((outcome.labels != final).mean()),
        relative_cost=outcome.relative_cost,
        exit_shares=outcome.exit_shares(pred.exits),
        forced=float(outcome.forced.mean()),
    )


def relative_time(policy: Policy, pred: ExitPredictions, times: CostModel | None) -> float | None:
    """Return the mean share of the static network's time that a policy takes, batches left aside.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits.
        times: share of the static network's time to reach each exit; None where it is not known.
    """
    return None if times is None else outcome_of(policy, pred.costing(times)).relative_cost


def final_answers(pred: ExitPredictions) -> NDArray[Any]:
    """Return what losses are counted against, (N,) integers: the final exit's answers, or those of a reference."""
    if pred.reference is not None:
        return pred.reference
    answers: NDArray[Any] = to_numpy(pred.logits)[-1].argmax(axis=-1)
    return answers
