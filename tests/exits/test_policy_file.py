"""A policy comes back from its file as it was, for its own weights only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shallowdeep.errors import CheckpointError
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.choice import ByBudget, ByLoss, ByThreshold, Found, SequenceStep, Static
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import policy_document, policy_from, read_policy, write_policy
from shallowdeep.exits.promises import AnswersPromise, Promise

RULE = ByBudget(
    budget=0.5, chosen_on="tune", samples=900, candidates=40, relative_cost=0.49, cross_validated_accuracy=0.9
)
FOUND = Found(RULE, temperatures_from="tune", dataset="images")
PROMISE = Promise("At most.", "accuracy-gap", 0.01, 0.95, "own final exit", 1800, "betting", 0.03)
ANSWERS = AnswersPromise("At most.", 0.02, 0.95, 1800, 0.8, 0.01, "exact binomial", 0.03)
POLICY = Policy(
    thresholds=(0.5, None, 0.25), signal="margin", fallback="most-confident", temperatures=(1.0, 2.0, 1.5, 1.0),
    max_relative_cost=0.8, weights="ab12", found=FOUND, promise=PROMISE,
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    """Every field comes back."""
    write_policy(POLICY, tmp_path / "policy.json")
    assert read_policy(tmp_path / "policy.json", "ab12") == POLICY


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """The message names what to do."""
    write_policy(POLICY, tmp_path / "policy.json")
    with pytest.raises(CheckpointError, match=r"made for the weights cd34.*run `shallowdeep calibrate` again"):
        read_policy(tmp_path / "policy.json", "cd34")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "got another"),
        ({"format_version": 4}, "a newer shallowdeep reads it"),
        ({"thresholds": ["high"]}, "lacks or garbles"),
        ({"thresholds": [-1.0, None, 0.2]}, "Expected thresholds of at least 0"),
        ({"signal": "mood"}, "Expected the name of a signal"),
    ],
)
def test_foreign_newer_and_garbled_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """With the reason."""
    document = {key: value for key, value in policy_document(POLICY).items() if key != "sha256"}
    (tmp_path / "policy.json").write_text(json.dumps(document | change))
    with pytest.raises(CheckpointError, match=message):
        read_policy(tmp_path / "policy.json", "ab12")


def test_an_altered_policy_is_refused_and_a_handmade_one_promises_nothing(tmp_path: Path) -> None:
    """A threshold lowered by hand breaks the seal; without a seal the policy is taken, its promise is not."""
    path = tmp_path / "policy.json"
    document = policy_document(POLICY) | {"thresholds": [0.1, None, 0.25]}
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="the file was altered"):
        read_policy(path, "ab12")
    del document["sha256"]
    path.write_text(json.dumps(document))
    made = read_policy(path, "ab12")
    assert made.thresholds == (0.1, None, 0.25)
    assert made.promise is None


def test_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    """With the reason, and how to make one."""
    with pytest.raises(CheckpointError, match="`shallowdeep calibrate` makes one"):
        read_policy(tmp_path / "policy.json", "ab12")
    (tmp_path / "policy.json").write_text('{"format"')
    with pytest.raises(CheckpointError, match="truncated or altered"):
        read_policy(tmp_path / "policy.json", "ab12")


def test_abstention_survives_and_older_files_have_none(tmp_path: Path) -> None:
    """Back from its file a policy withholds what it did; written by hand it promises nothing; format 1 knows none."""
    given = replace(POLICY, abstention=Abstention("confusion", 1.5, ANSWERS))
    write_policy(given, tmp_path / "policy.json")
    assert read_policy(tmp_path / "policy.json", POLICY.weights) == given
    document = {key: value for key, value in policy_document(given).items() if key != "sha256"}
    by_hand = policy_from(document, "here").abstention
    assert by_hand == Abstention("confusion", 1.5)
    del document["abstention"]
    assert policy_from({**document, "format_version": 1}, "here").abstention is None
    with pytest.raises(CheckpointError, match="lacks or garbles"):
        policy_from({**document, "abstention": {"indicator": "mood", "threshold": 1}}, "here")


@pytest.mark.parametrize(
    ("rule", "keys"),
    [
        (ByThreshold(threshold=0.9), {"method", "threshold"}),
        (Static(note="No exit pays."), {"method", "note"}),
        (
            RULE,
            {
                "method", "budget", "chosen_on", "samples", "candidates", "relative_cost", "cross_validated_accuracy",
            },
        ),
        (
            ByLoss(
                max_accuracy_loss=0.01, confidence=0.95, risk="accuracy-gap", chosen_on="tune", samples=900,
                candidates=40, tested_on="certify", sequence=(SequenceStep(0.8, 0.01), SequenceStep(0.7, 0.2)), note="",
            ),
            {
                "method", "max_accuracy_loss", "confidence", "risk", "chosen_on", "samples", "candidates", "tested_on",
                "sequence", "note", "costs",
            },
        ),
    ],
)  # fmt: skip
def test_how_it_was_found_lies_side_by_side_with_its_rule(
    rule: ByThreshold | ByBudget | ByLoss | Static, keys: set[str]
) -> None:
    """The file names the rule's settings and the data in one object, and gives them back."""
    policy = replace(POLICY, found=Found(rule, dataset="images"))
    document = json.loads(json.dumps(policy_document(policy)))
    others = {
        "temperatures_from", "ensemble_from", "dataset", "data_fingerprint", "backend", "precision", "planned",
    }  # fmt: skip
    assert set(document["found"]) == keys | others
    assert policy_from(document, "here") == policy


@pytest.mark.parametrize("found", [{}, {"method": "dice"}, {"method": "budget", "budget": 0.5}])
def test_a_handmade_policy_may_leave_out_how_it_was_found(found: dict[str, Any]) -> None:
    """What decides does not depend on it."""
    document = {key: value for key, value in policy_document(POLICY).items() if key != "sha256"}
    made = policy_from({**document, "found": found}, "here")
    assert made.found is None
    assert made.thresholds == POLICY.thresholds
    assert policy_document(made)["found"] == {}
