"""How a policy was found: its rule, the data, and what was fitted beside the thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from shallowdeep.documents import plain

MACS, TIME = "macs", "time"


@dataclass(frozen=True, kw_only=True)
class ByThreshold:
    """The paper's rule: a threshold that was given.

    Attributes:
        method: the name of the rule.
        threshold: of all exits.
    """

    method: Literal["threshold"] = "threshold"
    threshold: float


@dataclass(frozen=True, kw_only=True)
class ByBudget:
    """The most accurate policy on ``tune`` within a mean cost.

    Attributes:
        method: the name of the rule.
        budget: highest mean cost, relative to the backbone.
        chosen_on: the split.
        samples: of it.
        candidates: policies compared.
        relative_cost: mean cost of the one chosen, on that split.
        cross_validated_accuracy: of the one chosen, on that split, a fraction.
    """

    method: Literal["budget"] = "budget"
    budget: float
    chosen_on: str
    samples: int
    candidates: int
    relative_cost: float
    cross_validated_accuracy: float


@dataclass(frozen=True)
class SequenceStep:
    """A policy of the sequence that was tested.

    Attributes:
        tune_relative_cost: its mean cost on ``tune``, relative to the backbone, by what `ByLoss.costs` says.
        p_value: of "it loses more than is promised", on ``certify``.
    """

    tune_relative_cost: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class ByLoss:
    """The cheapest policy that is promised to lose little.

    Attributes:
        method: the name of the rule.
        max_accuracy_loss: largest loss, a fraction.
        confidence: of the promise, in (0, 1).
        risk: ``accuracy-gap`` or ``disagreement``.
        chosen_on: the split that the sequence was chosen on.
        samples: of it.
        candidates: policies compared.
        tested_on: the split that the sequence was tested on.
        sequence: the policies tested in turn: those that passed, and the first that did not.
        note: what a reader should know of it.
        costs: what costs were counted in, ``macs`` or ``time``.
    """

    method: Literal["max-accuracy-loss"] = "max-accuracy-loss"
    max_accuracy_loss: float
    confidence: float
    risk: str
    chosen_on: str
    samples: int
    candidates: int
    tested_on: str
    sequence: tuple[SequenceStep, ...]
    note: str
    costs: str = MACS


@dataclass(frozen=True, kw_only=True)
class Static:
    """No internal classifier was to be used: the unmodified network.

    Attributes:
        method: the name of the rule.
        note: what a reader should know of it.
    """

    method: Literal["static"] = "static"
    note: str


Rule = ByThreshold | ByBudget | ByLoss | Static
RULES: Mapping[str, type[Rule]] = {rule.method: rule for rule in (ByThreshold, ByBudget, ByLoss, Static)}


@dataclass(frozen=True)
class Found:
    """How a policy was found.

    Attributes:
        rule: the rule, its settings, and what it came to.
        temperatures_from: the split that temperatures were fitted on; None where the policy has none.
        ensemble_from: the split that the ensemble was fitted on; None where the policy has none.
        dataset: the name of the data; None where it is not known.
        data_fingerprint: of its splits; None likewise.
        backend: the runtime that it was found for; None for any, in float32.
        precision: likewise.
        planned: whether a plan chose runtime and exits.
    """

    rule: Rule
    temperatures_from: str | None = None
    ensemble_from: str | None = None
    dataset: str | None = None
    data_fingerprint: str | None = None
    backend: str | None = None
    precision: str | None = None
    planned: bool = False


def found_document(found: Found | None) -> dict[str, Any]:
    """Return what JSON holds of it: the rule's fields and the others side by side; nothing for None."""
    if found is None:
        return {}
    others = plain(found)
    return {**others.pop("rule"), **others}


def found_from(document: Mapping[str, Any]) -> Found | None:
    """Return how a policy was found, as JSON holds it; None where it names no known rule, or not all of its fields.

    What decides does not depend on it, so that a policy written by hand may leave it out.
    """
    rule = RULES.get(document.get("method", ""))
    if rule is None or any(field.default is MISSING and field.name not in document for field in fields(rule)):
        return None
    steps = {"sequence": tuple(SequenceStep(**step) for step in document.get("sequence", ()))}
    values = {**document, **steps}
    settings = {field.name: values[field.name] for field in fields(rule) if field.name in values}
    others = {field.name: values[field.name] for field in fields(Found) if field.name in values}
    return Found(rule(**settings), **others)
