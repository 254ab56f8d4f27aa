"""Operating points: thresholds chosen on one split for an objective, shown on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shallowdeep.analysis.accuracy import exit_accuracies
from shallowdeep.errors import DataError
from shallowdeep.exits.outcome import summarize
from shallowdeep.exits.policy import shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import cheapest_within, choose_threshold, threshold_curve

BUDGETS = (0.25, 0.5, 0.75)
ACCURACY_LOSS = 0.01


@dataclass(frozen=True)
class OperatingPoint:
    """One objective, the threshold chosen for it on ``tune``, and what that does on the split shown.

    Attributes:
        rule: the objective, such as ``"cost <= 25 %"`` or ``"points lost <= 1"``.
        threshold: chosen on ``tune`` alone; None, with all that follows, where no threshold fits there.
        tune_accuracy: fraction, on the split the threshold was chosen on (so a little flattering).
        accuracy: fraction, on the split shown.
        relative_cost: mean cost on the split shown; may differ a little from the limit kept on ``tune``.
        exit_shares: (E,) share of the samples shown that stop at each exit.
    """

    rule: str
    threshold: float | None
    tune_accuracy: float | None = None
    accuracy: float | None = None
    relative_cost: float | None = None
    exit_shares: tuple[float, ...] | None = None


def operating_points(
    tune: ExitPredictions,
    test: ExitPredictions,
    budgets: Sequence[float] = BUDGETS,
    accuracy_loss: float = ACCURACY_LOSS,
) -> list[OperatingPoint]:
    """Return one operating point per budget, then the cheapest within the accuracy loss.

    Args:
        tune: where thresholds are chosen; the loss is counted from its final exit.
        test: where they are shown; nothing is chosen on it.
        budgets: highest mean relative costs, each above 0.
        accuracy_loss: as a fraction, against the final exit.

    Returns:
        ``len(budgets) + 1`` points in that order.

    Raises:
        DataError: the two splits do not come from one network.
        ConfigurationError: a budget or the loss makes no sense.
    """
    check_same_network(tune, test)
    curve = threshold_curve(tune)
    objectives = [(f"cost <= {100 * budget:g} %", choose_threshold(curve, budget)) for budget in budgets]
    final_accuracy = float(exit_accuracies(tune)[-1])
    objectives.append(
        (f"points lost <= {100 * accuracy_loss:g}", cheapest_within(curve, accuracy_loss, final_accuracy))
    )
    return [_shown(rule, threshold, tune, test) for rule, threshold in objectives]


def by_threshold(points: Sequence[OperatingPoint]) -> list[tuple[OperatingPoint, tuple[str, ...]]]:
    """Return the points that differ, each with all rules that lead to it, in the order of their first rules.

    Args:
        points: chosen on one split and shown on one; those of one threshold are alike but for their rules.
    """
    rules: dict[float | None, list[str]] = {}
    for point in points:
        rules.setdefault(point.threshold, []).append(point.rule)
    first = {point.threshold: point for point in reversed(points)}
    return [(first[threshold], tuple(names)) for threshold, names in rules.items()]


def check_same_network(tune: ExitPredictions, test: ExitPredictions) -> None:
    """Raise DataError unless both have the same classes and the same exits at the same costs."""
    ours, theirs = ((p.classes, [round(float(cost), 6) for cost in p.costs]) for p in (tune, test))
    if ours != theirs:
        raise DataError(
            f"Expected two splits from one network, got {ours[0]} classes with exit costs {ours[1]} and "
            f"{theirs[0]} classes with {theirs[1]}"
        )


def _shown(rule: str, threshold: float | None, tune: ExitPredictions, test: ExitPredictions) -> OperatingPoint:
    """Return what a threshold does on both splits."""
    if threshold is None:
        return OperatingPoint(rule, None)
    policy = shared_threshold(threshold, tune.exits)
    chosen, shown = (summarize(policy, pred) for pred in (tune, test))
    return OperatingPoint(
        rule, threshold, chosen.accuracy, shown.accuracy, shown.relative_cost, exit_shares=shown.exit_shares
    )
