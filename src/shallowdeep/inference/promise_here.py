"""Whether what was promised of a policy holds of what runs here (no torch)."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import AnswersPromise, Promise
from shallowdeep.inference.precision import F32, runtime_name
from shallowdeep.instruction_set import UNKNOWN, instruction_set

_PACKAGES = {"openvino": ("openvino", "nncf")}  # that decide what a runtime computes at a lower precision


def promises_of(policy: Policy) -> tuple[Promise | AnswersPromise, ...]:
    """Return what is promised of a policy: of its accuracy, of the answers that it gives, or nothing."""
    given = policy.promise, None if policy.abstention is None else policy.abstention.promise
    return tuple(promise for promise in given if promise is not None)


def promised_here(policy: Policy, backend: str, precision: str) -> Policy:
    """Return a policy whose promises name the instructions and versions that its outputs were computed by.

    Args:
        policy: certified on this processor.
        backend: that computed its outputs.
        precision: that they were computed in; those of float32 are alike everywhere, and need no names.
    """
    here, versions, abstention = instruction_set(precision), versions_of(backend), policy.abstention
    if policy.promise is not None and policy.promise.runtime:
        policy = replace(policy, promise=replace(policy.promise, instructions=here, versions=versions))
    if abstention is not None and abstention.promise is not None and abstention.promise.runtime:
        promise = replace(abstention.promise, instructions=here, versions=versions)
        policy = replace(policy, abstention=replace(abstention, promise=promise))
    return policy


def with_promises_for(policy: Policy, backend: str, precision: str) -> Policy:
    """Return a policy without the promises that are about other outputs than a runtime's, written now."""
    abstention = policy.abstention
    if abstention is not None and why_not_for(abstention.promise, backend, precision):
        abstention = replace(abstention, promise=None)
    promise = None if why_not_for(policy.promise, backend, precision) else policy.promise
    return replace(policy, promise=promise, abstention=abstention)


def why_not_for(promise: Promise | AnswersPromise | None, backend: str, precision: str) -> str:
    """Return why a promise is not about what a runtime computes, "" where it is: float32's outputs are alike in all."""
    if promise is None:
        return ""
    if promise.runtime != ("" if precision == F32 else runtime_name(backend, precision)):
        return f"it is about {promise.runtime or 'float32'}"
    if promise.versions not in {"", versions_of(backend)}:
        return f"it was certified with {promise.versions}, here is {versions_of(backend)}"
    return ""


def kept_here(policy: Policy, precision: str) -> tuple[Policy, str | None]:
    """Return a policy with the promises that hold on this processor, and why others were withdrawn; None for none.

    Args:
        policy: of a bundle.
        precision: that the bundle computes in.
    """
    here, abstention = instruction_set(precision), policy.abstention
    certified = {
        one.instructions
        for one in promises_of(policy)
        if one.instructions and (one.instructions != here or here == UNKNOWN)
    }
    if not certified:
        return policy, None
    policy = replace(policy, promise=None)
    if abstention is not None:
        policy = replace(policy, abstention=replace(abstention, promise=None))
    has = "does not tell its instructions" if here == UNKNOWN else f"has {here}"
    reason = (
        f"The promise was certified on {', '.join(sorted(certified))} at {precision}; this processor {has}, whose "
        "results may differ, so nothing is promised here: calibrate on this machine"
    )
    return policy, reason


def versions_of(backend: str) -> str:
    """Return the installed versions of the packages that decide what a runtime computes; "" for none."""
    found = []
    for package in _PACKAGES.get(backend, ()):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
