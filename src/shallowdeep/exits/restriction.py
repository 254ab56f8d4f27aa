"""A network as if it had only some of its internal classifiers, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions


def kept_exits(early: Sequence[int], exits: int, *, cascaded: bool = False) -> tuple[int, ...]:
    """Return the exits that stay: the early ones named, and the final one.

    Args:
        early: K internal classifiers, in any order; may be none.
        exits: E, the final classifier included.
        cascaded: whether internal classifiers read those before them, which must then stay too.

    Raises:
        ConfigurationError: there is no such internal classifier, one is named twice, or one before is missing.
    """
    chosen = sorted(early)
    if len(set(chosen)) != len(chosen) or not all(0 <= exit_ < exits - 1 for exit_ in chosen):
        raise ConfigurationError(
            f"Expected different exits among 0 ... {exits - 2} (the final one, {exits - 1}, is always in use), got "
            f"{', '.join(map(str, early))}"
        )
    if cascaded and chosen != list(range(len(chosen))):
        raise ConfigurationError(
            f"Expected every exit before one in use too, since internal classifiers are cascaded, got "
            f"{', '.join(map(str, chosen))}"
        )
    return (*chosen, exits - 1)


def restricted(pred: ExitPredictions, kept: Sequence[int]) -> ExitPredictions:
    """Return the predictions of some exits, with what reaching each costs when the others are not run.

    Args:
        pred: of E exits.
        kept: K of them, increasing, the final one last; see `kept_exits`.
    """
    places = list(kept)
    reached = tuple(pred.costs.in_use(places).tolist())
    heads = tuple(pred.costs.heads[exit_] for exit_ in places[:-1])
    return ExitPredictions(
        pred.logits[np.asarray(places)],
        pred.labels,
        CostModel(reached, heads, pred.costs.cascaded),
        weights=pred.weights,
        backend=pred.backend,
        reference=pred.reference,
    )


def widened(policy: Policy, kept: Sequence[int], exits: int) -> Policy:
    """Return a policy of some exits as one of all: the others are switched off.

    Args:
        policy: of K exits.
        kept: which of the E these are, increasing, the final one last.
        exits: E.
    """
    thresholds: list[float | None] = [None] * (exits - 1)
    for exit_, threshold in zip(kept[:-1], policy.thresholds, strict=True):
        thresholds[exit_] = threshold
    temperatures = [1.0] * exits
    for exit_, temperature in zip(kept, policy.temperatures, strict=False):
        temperatures[exit_] = temperature
    return replace(
        policy, thresholds=tuple(thresholds), temperatures=tuple(temperatures) if policy.temperatures else ()
    )
