"""Audits in the files of a run: what is written is read back, by every later version, and damage is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shallowdeep.artifacts import BACKDOOR_AUDIT, SLOWDOWN_AUDIT, SUSPECTS_AUDIT
from shallowdeep.audits.backdoor_audit import (
    Answering,
    BackdoorAudit,
    BackdoorFindings,
    DetectorFigures,
    InputDetection,
    TrainingSetDetection,
    TriggerConfusion,
    TriggeredExit,
    TriggerHistogram,
)
from shallowdeep.audits.slowdown_audit import (
    AttackedPolicy,
    CraftingSpeed,
    Defence,
    EfficacyChange,
    SlowdownAudit,
    SlowdownFigures,
)
from shallowdeep.audits.stored_audits import Audits
from shallowdeep.audits.suspects_audit import (
    ExaminedExit,
    FlaggedSuspect,
    SuspectsAudit,
    SuspectsConfusion,
    SuspectsTest,
    TriggerProbe,
    TriggersAudit,
)
from shallowdeep.bench.latency import Latency
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.errors import CheckpointError
from shallowdeep.machine import Machine
from shallowdeep.runs.audit_files import Audit, Picture, audits_from, read_audits, write_audit

RESULTS = Path(__file__).parents[2] / "results/security"
HISTOGRAM = TriggerHistogram((0.0, 1.0, 2.0), (3, 1), (0, 4))
FOUND = BackdoorFindings(
    exits=(TriggeredExit("a", 0.25, 0.5, 0.75, 0.5), TriggeredExit("final", 1.0, 1.0, 0.75, 0.0)),
    trigger_depth=1,
    confusion=TriggerConfusion(0.875, 0.5, 1.5, normalised=True, histogram=HISTOGRAM),
    mitigation=(
        Answering("none", "the final exit answers", 0.75, 0.0, 1.0, 1.0),
        Answering("best exit", "there is none", None, None, None, None),
        Answering("blind abstention", "no answer", 0.5, 0.0, 0.25, 1.0, withheld=(0.25, 0.75)),
    ),
)
DETECTORS = {"STRIP": DetectorFigures(0.75, 0.5, {"auroc": (0.5, 1.0)}, 64, "superpositions")}
STUDY = BackdoorAudit(
    weights="w", data="mnist5k", model="resnet20", trigger="badnets", target="5", poison_ratio=0.1, images=4500,
    epochs=4, seed=0, command="shallowdeep audit backdoor", exits=FOUND.exits, trigger_depth=FOUND.trigger_depth,
    confusion=FOUND.confusion, mitigation=FOUND.mitigation, detectors=InputDetection(24, 4, DETECTORS),
    training_set=TrainingSetDetection(40, 4, 4, DETECTORS), poisoned_ics=FOUND,
)  # fmt: skip
EXITS = (ExaminedExit(name="final", relative_cost=1.0, clean_accuracy=0.5),)
EXAMINED = SuspectsAudit(
    weights="w", weights_file="theirs.pth", data="clean", model="resnet20", seed=0, command="", exits=EXITS, clean=100,
    confusion=SuspectsConfusion(
        auroc=0.75, clean_mean=0.0, triggered_mean=1.0, normalised=True, histogram=HISTOGRAM
    ),
    suspects=4, level=0.05, p_value=0.5, tests=(SuspectsTest("all", 4, 0.75, 0.5, 0.5),),
    flagged=(FlaggedSuspect("a.png", "dog", 2.5),), verdict="No evidence.", limits=("No evidence is not clean.",),
)  # fmt: skip
PROBED = TriggersAudit(
    weights="w", weights_file="theirs.pth", data="clean", model="resnet20", seed=0, command="", exits=EXITS, clean=100,
    probed=100, probes=(TriggerProbe("sig", "dog", 0.5, 0.25, 0.0125, 0.05),), p_value=0.05, verdict="No evidence.",
    limits=(),
)  # fmt: skip
FIGURES = SlowdownFigures(6, 0.5, 0.75, 0.5, 1.0, (0.5, 0.5))
POLICIES = (
    AttackedPolicy(
        name="own", thresholds=(0.75, None), clean=FIGURES, per_sample=FIGURES, universal=FIGURES,
        latency=(Latency(1, 1.0, 2.0, PairedRatio(2.0, 1.5, 2.5)),),
    ),
    AttackedPolicy(name="published", thresholds=(0.5,), clean=FIGURES, per_sample=FIGURES, universal=FIGURES),
)  # fmt: skip
SLOWED = SlowdownAudit(
    weights="w", run="run", data="cifar10", samples=6, epsilon=0.03125, iterations=30, step=0.0078125, seed=0,
    command="", exits=("a", "final"), costs=(0.25, 1.0), policy="own", efficacy=EfficacyChange(0.75, 0.25),
    policies=POLICIES, images_per_second=CraftingSpeed(2.5, 240.0), machine=Machine("cpu", 2, 1, "3.11", "2026-11-27"),
    backend="torch", defences=(Defence("none", "the policy alone", FIGURES, FIGURES),), defended_policy="published",
    sizing="Size for all of it.",
)  # fmt: skip


def test_audits_survive_their_files(tmp_path: Path) -> None:
    """All three, with their pictures; those of other weights are left out."""
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    picture = Picture(pixels, pixels + np.uint8(127), "brighter")
    assert read_audits(tmp_path, "w") == Audits()
    assert write_audit(tmp_path, BACKDOOR_AUDIT, STUDY, [picture]) == [tmp_path / BACKDOOR_AUDIT]
    write_audit(tmp_path, SUSPECTS_AUDIT, EXAMINED)
    write_audit(tmp_path, SLOWDOWN_AUDIT, SLOWED)
    found = read_audits(tmp_path, "w")
    assert (found.backdoor, found.suspects, found.slowdown) == (STUDY, EXAMINED, SLOWED)
    assert found.backdoor_pictures == (picture.encoded(),)
    assert found.slowdown_pictures == ()
    assert read_audits(tmp_path, "others") == Audits()
    write_audit(tmp_path, SUSPECTS_AUDIT, PROBED)
    assert read_audits(tmp_path, "w").suspects == PROBED


def test_the_policy_sized_for_is_found_by_its_name() -> None:
    """Wherever it stands."""
    assert SLOWED.sized_for.name == "own"


@pytest.mark.parametrize(
    ("name", "audit", "since"),
    [
        (BACKDOOR_AUDIT, STUDY, ("notes", "learning_rate")),
        (SLOWDOWN_AUDIT, SLOWED, ("step",)),
        (SUSPECTS_AUDIT, EXAMINED, ("notes",)),
    ],
)
def test_audits_of_older_versions_are_read(tmp_path: Path, name: str, audit: Audit, since: tuple[str, ...]) -> None:
    """What their files lack is left open."""
    write_audit(tmp_path, name, audit)
    document: dict[str, Any] = json.loads((tmp_path / name).read_text())
    for key in since:
        del document[key]
    (tmp_path / name).write_text(json.dumps(document))
    found = read_audits(tmp_path, "w")
    assert [found.backdoor, found.slowdown, found.suspects].count(None) == 2


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_published_audits_are_read(file: Path) -> None:
    """Those of results/security, some of an older version."""
    document = json.loads(file.read_text())
    found = audits_from({document["audit"]: document}, str(file))
    (audit,) = (one for one in (found.backdoor, found.slowdown) if one is not None)
    assert audit.weights == document["weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "Expected an audit in .*audit-slowdown.json, got: "),
        ('["weights"]', "Expected an audit in .*audit-slowdown.json, got: "),
        ('{"weights": "w"}', r"Expected audits in .*, got others: required field missing @ \$.slowdown.run"),
        ('{"weights": "w", "run": "r", "samples": "six"}', "got others: "),
    ],
)
def test_damaged_audits_are_told_in_one_line(tmp_path: Path, change: str, message: str) -> None:
    """No JSON, no document, or one that lacks something."""
    (tmp_path / SLOWDOWN_AUDIT).write_text(change)
    with pytest.raises(CheckpointError, match=message) as told:
        read_audits(tmp_path, "w")
    assert "\n" not in str(told.value)


def test_cattrs_is_wanted_where_there_are_audits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with an extra; the command line says which."""
    monkeypatch.setitem(sys.modules, "cattrs", None)
    assert read_audits(tmp_path, "w") == Audits()
    write_audit(tmp_path, SLOWDOWN_AUDIT, SLOWED)
    with pytest.raises(ModuleNotFoundError, match="cattrs"):
        read_audits(tmp_path, "w")
