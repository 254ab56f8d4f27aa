"""A policy as a small JSON file that belongs to exactly one set of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shallowdeep.documents import SEAL, check_format, digest, plain, read_document, sealed
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.choice import found_document, found_from
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import AnswersPromise, Promise
from shallowdeep.files import write_json

FORMAT, FORMAT_VERSION = "shallowdeep-policy", 3


def policy_document(policy: Policy) -> dict[str, Any]:
    """Return what JSON can hold, sealed."""
    found = found_document(policy.found)
    return sealed({"format": FORMAT, "format_version": FORMAT_VERSION, **plain(policy), "found": found})


def policy_from(document: Mapping[str, Any], source: str) -> Policy:
    """Return the policy a JSON document describes.

    Raises:
        CheckpointError: another document, a newer format, or values that make no policy; ``source`` is named.
    """
    check_format(document, FORMAT, FORMAT_VERSION, source)
    if document.get(SEAL, digest(document)) != digest(document):
        raise CheckpointError(
            f"Expected the checksum of the policy in {source} to be that of its content: it was altered"
        )
    try:
        return Policy(
            thresholds=tuple(None if value is None else float(value) for value in document["thresholds"]),
            signal=document["signal"],
            fallback=document["fallback"],
            temperatures=tuple(float(value) for value in document["temperatures"]),
            max_relative_cost=document["max_relative_cost"],
            weights=str(document["weights"]),
            found=found_from(document["found"]),
            promise=_promise(document),
            abstention=_abstention(document),
            ensemble=_ensemble(document),
        )
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise CheckpointError(
            f"Expected a complete policy in {source}, got one that lacks or garbles: {error}"
        ) from error


def write_policy(policy: Policy, path: Path) -> None:
    """Replace ``path`` by ``policy``.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(path, policy_document(policy))


def read_policy(path: Path, weights: str) -> Policy:
    """Return the policy in a file.

    Args:
        path: the file.
        weights: SHA-256 of the weights it must have been made for.

    Raises:
        CheckpointError: missing, damaged, newer, or made for other weights.
    """
    absent = f"Expected a policy in {path}, found no such file; `shallowdeep calibrate` makes one"
    document = read_document(path, FORMAT, FORMAT_VERSION, absent)
    policy = policy_from(document, str(path))
    if policy.weights != weights:
        raise CheckpointError(
            f"Expected a policy made for the weights {weights[:12]}..., got one made for {policy.weights[:12]}... in "
            f"{path}; run `shallowdeep calibrate` again"
        )
    return policy


def _promise(document: Mapping[str, Any]) -> Promise | None:
    """Return what is promised of the loss; a policy written by hand, which is not sealed, promises nothing."""
    given = document["promise"]
    return Promise(**given) if given is not None and SEAL in document else None


def _abstention(document: Mapping[str, Any]) -> Abstention | None:
    """Return which answers are withheld, if any; policies of format 1 withhold none."""
    found = document.get("abstention")
    if found is None:
        return None
    given = found["promise"] if SEAL in document else None
    promise = AnswersPromise(**given) if given else None
    return Abstention(str(found["indicator"]), float(found["threshold"]), promise)


def _ensemble(document: Mapping[str, Any]) -> Ensemble | None:
    """Return the ensemble's weights, if any; policies before format 3 have none."""
    found = document.get("ensemble")
    return None if found is None else Ensemble.from_dict(found)
