"""What a choice of exits amounts to: accuracy, cost, and who left where."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.policy import answers
from shallowdeep.exits.predictions import ExitPredictions


@dataclass(frozen=True)
class Outcome:
    """What one policy does on one split.

    Args:
        accuracy: share of samples answered correctly at their exit.
        relative_cost: mean cost of the exits taken, relative to the unmodified backbone.
        exit_shares: for each exit, the share of samples that stop there; they add up to 1.
    """

    accuracy: float
    relative_cost: float
    exit_shares: tuple[float, ...]


def outcome(pred: ExitPredictions, exits: Array) -> Outcome:
    """Return what stopping each sample at its exit amounts to.

    Args:
        pred: predictions of all exits on one split.
        exits: (N,) integers in [0, E), of the array library of ``pred``; any policy's choice.

    Returns:
        Fractions over the N samples.

    Raises:
        DataError: ``exits`` has another shape.
    """
    xp = array_namespace(pred.logits, exits)
    right = int(xp.count_nonzero(answers(pred.logits, exits) == pred.labels))
    counts = [int(xp.count_nonzero(exits == k)) for k in range(pred.exits)]
    costs = to_numpy(pred.costs).tolist()
    return Outcome(
        accuracy=right / pred.samples,
        relative_cost=sum(count * cost for count, cost in zip(counts, costs, strict=True)) / pred.samples,
        exit_shares=tuple(count / pred.samples for count in counts),
    )
