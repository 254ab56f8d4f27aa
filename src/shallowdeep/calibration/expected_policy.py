"""The policy that calibration can be expected to find, by ``tune`` alone: what a plan is made with."""

from __future__ import annotations

import numpy as np

from shallowdeep.calibration.calibrate import Search, base_policy
from shallowdeep.calibration.candidates import candidates, safest
from shallowdeep.calibration.certification import upper_bounds
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.policy_search import with_threshold, within_budget
from shallowdeep.calibration.risk import ACCURACY_GAP
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import final_answers
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.restriction import kept_exits, restricted, widened


def expected_policy(objective: Objective, tune: ExitPredictions, search: Search, *, samples: int) -> Policy | None:
    """Return the policy of some exits that an objective is expected to lead to.

    Under a largest loss that is the cheapest whose expected upper bound on the loss is within it: ``certify`` is not
    read.

    Args:
        objective: what is asked for; answers are not withheld here, and the signal is no ensemble.
        tune: predictions of all exits.
        search: which exits, and what is cheap.
        samples: that ``certify`` has.

    Returns:
        For all exits of ``tune``; None where none of these exits does what is asked for.
    """
    early = range(tune.exits - 1) if search.early is None else search.early
    kept = kept_exits(early, tune.exits, cascaded=tune.costs.cascaded)
    few = restricted(tune, kept)
    base, _ = base_policy(objective, few)
    timed = few if search.times is None else restricted(tune.costing(search.times), kept)
    found = _found(objective, base, few, timed, samples)
    return None if found is None else widened(found, kept, tune.exits)


def _found(
    objective: Objective, base: Policy, few: ExitPredictions, timed: ExitPredictions, samples: int
) -> Policy | None:
    if objective.threshold is not None:
        return with_threshold(base, objective.threshold)
    if objective.budget is not None:
        try:
            return within_budget(few, base, objective.budget)
        except ConfigurationError:  # leaving at the first of these exits costs more
            return None
    on = few if objective.max_relative_cost is not None else timed
    target = to_numpy(on.labels) if objective.risk == ACCURACY_GAP else final_answers(on)
    found = candidates(on, base, [target])
    bounds = upper_bounds(found, on, risk=objective.risk, samples=samples)
    allowed = np.flatnonzero(bounds <= (objective.max_accuracy_loss or 0.0))
    if not len(allowed):
        return safest(base, on)
    cheapest = min(allowed, key=lambda place: found[place].relative_cost)
    return found[cheapest].policy
