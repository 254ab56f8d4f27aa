"""What comes of following a policy on one split: answers, exits, accuracy and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.costs import costs_in_use
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.exits.predictions import ExitPredictions


@dataclass(frozen=True, eq=False)
class Followed:
    """What a policy did with N samples.

    Args:
        labels: (N,) integers in [0, C), the answers.
        exits: (N,) integers in [0, E), where each stopped.
        costs: (N,) float64, relative to the backbone; heads that are switched off cost nothing.
        forced: (N,) bool, stopped by the policy's cost limit.
    """

    labels: NDArray[Any]
    exits: NDArray[Any]
    costs: NDArray[np.float64]
    forced: NDArray[np.bool_]

    @property
    def relative_cost(self) -> float:
        """Mean cost."""
        return float(self.costs.mean())

    def exit_shares(self, exits: int) -> tuple[float, ...]:
        """Share of the samples that stop at each of the E exits; they add up to 1."""
        return tuple((np.bincount(self.exits, minlength=exits) / len(self.exits)).tolist())


def follow(policy: Policy, pred: ExitPredictions, head_costs: Sequence[float]) -> Followed:
    """Return what a policy does on a split; `decide` decides.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits on one split.
        head_costs: (E-1,) the part of ``pred.costs`` that is each internal classifier's own.

    Raises:
        ShallowDeepError: policy, predictions and head costs do not go together, or no exit is within the cost limit.
    """
    used = costs_in_use(to_numpy(pred.costs), head_costs, policy.in_use)
    decisions = decide(policy, to_numpy(pred.logits), used.tolist())
    costs = np.zeros(pred.exits)
    costs[list(policy.in_use)] = used
    return Followed(decisions.labels, decisions.exits, costs[decisions.exits], decisions.forced)


def outcome_block(policy: Policy, pred: ExitPredictions, head_costs: Sequence[float]) -> dict[str, Any]:
    """Return what a policy comes to on one split: plain numbers, fractions all but ``samples``.

    Args:
        policy: for the exits of ``pred``.
        pred: predictions of all exits on one split.
        head_costs: (E-1,) relative.

    Returns:
        ``samples``, ``accuracy``, ``final_accuracy`` (of the network's own final exit), ``accuracy_lost`` (the latter
        minus the former), ``disagreement`` (share answered otherwise than by the final exit), ``relative_cost``,
        ``exit_shares`` and ``forced`` (share stopped by the policy's cost limit).
    """
    followed = follow(policy, pred, head_costs)
    truth, final = to_numpy(pred.labels), final_answers(pred)
    accuracy, final_accuracy = float((followed.labels == truth).mean()), float((final == truth).mean())
    return {
        "samples": pred.samples,
        "accuracy": accuracy,
        "final_accuracy": final_accuracy,
        "accuracy_lost": final_accuracy - accuracy,
        "disagreement": float((followed.labels != final).mean()),
        "relative_cost": followed.relative_cost,
        "exit_shares": list(followed.exit_shares(pred.exits)),
        "forced": float(followed.forced.mean()),
    }


def final_answers(pred: ExitPredictions) -> NDArray[Any]:
    """Return the answers of the network's own final exit, (N,) integers: what losses are counted against."""
    answers: NDArray[Any] = to_numpy(pred.logits)[-1].argmax(axis=-1)
    return answers
