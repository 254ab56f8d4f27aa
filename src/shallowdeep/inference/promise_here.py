"""Whether what was promised of a policy holds on this processor (no torch)."""

from __future__ import annotations

from dataclasses import replace

from shallowdeep.exits.policy import Policy
from shallowdeep.instruction_set import instruction_set


def promised_here(policy: Policy, precision: str) -> Policy:
    """Return a policy whose promises name the instructions that its outputs were computed by.

    Args:
        policy: certified on this processor.
        precision: that its outputs were computed in; those of float32 are alike everywhere, and need no name.
    """
    here, abstention = instruction_set(precision), policy.abstention
    if policy.promise is not None and policy.promise.runtime:
        policy = replace(policy, promise=replace(policy.promise, instructions=here))
    if abstention is not None and abstention.promise is not None and abstention.promise.runtime:
        promise = replace(abstention.promise, instructions=here)
        policy = replace(policy, abstention=replace(abstention, promise=promise))
    return policy


def kept_here(policy: Policy, precision: str) -> tuple[Policy, str | None]:
    """Return a policy with the promises that hold on this processor, and why others were withdrawn; None for none.

    Args:
        policy: of a bundle.
        precision: that the bundle computes in.
    """
    here, abstention = instruction_set(precision), policy.abstention
    promise = policy.promise
    certified = {
        one.instructions
        for one in (promise, None if abstention is None else abstention.promise)
        if one is not None and one.instructions not in {"", here}
    }
    if not certified:
        return policy, None
    policy = replace(policy, promise=None)
    if abstention is not None:
        policy = replace(policy, abstention=replace(abstention, promise=None))
    reason = (
        f"The promise was certified on {', '.join(sorted(certified))} at {precision}; this processor has {here}, whose "
        "results may differ, so nothing is promised here: calibrate on this machine"
    )
    return policy, reason
