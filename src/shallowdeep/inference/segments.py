"""Which stages run in one call: those up to the next exit in use."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy import NEVER, Policy


@dataclass(frozen=True)
class Segment:
    """Stages that run in one call, and the exit behind them.

    Attributes:
        first: number of the first stage.
        last: number of the last stage, which is the exit's.
        relative_cost: of reaching the exit, internal classifiers that are run on the way included.
    """

    first: int
    last: int
    relative_cost: float

    @property
    def exit(self) -> int:
        """The exit at its end; exit k stands behind stage k."""
        return self.last


def plan_segments(policy: Policy, costs: CostModel) -> tuple[Segment, ...]:
    """Return the segments that a policy needs: stages between its exits are fused, what it never reaches is left out.

    Args:
        policy: for E exits.
        costs: of the E exits.

    Raises:
        ConfigurationError: the policy is for another number of exits, switches off an exit that a later one reads, or
            its cost limit leaves none.
    """
    if policy.exits != len(costs):
        raise ConfigurationError(f"Expected a policy for {len(costs)} exits, got one for {policy.exits}")
    internal = policy.in_use[:-1]
    if costs.cascaded and internal != tuple(range(len(internal))):
        raise ConfigurationError(
            f"Expected no exit switched off before one in use, since internal classifiers are cascaded, got exits "
            f"{list(policy.in_use)} in use; a threshold of {NEVER:g} lets no sample leave"
        )
    reached = costs.in_use(policy.in_use).tolist()
    ends = policy.in_use[: policy.last_within(reached)]
    starts = [0, *(end + 1 for end in ends[:-1])]
    return tuple(Segment(first, last, cost) for first, last, cost in zip(starts, ends, reached, strict=False))
