"""A trained network to a bundle in one go, and the sentence on what to deploy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.made_run import TRUSTING

from shallowdeep.bench.workers import PairedRatio
from shallowdeep.calibration.calibration_report import CalibrationReport
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import Promise
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.plan_record import EXITS, STATIC, Plan
from shallowdeep.workflows import convert, plan_runtimes
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.convert import SpeedUp, Verdict

if TYPE_CHECKING:
    from tests.conftest import Shell


@pytest.fixture
def calibrated(made_run: Path) -> CalibrationReport:
    """A run with a policy that exits early."""
    return calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)[0]


def gains(*medians: float) -> list[SpeedUp]:
    """Speed-ups at batch sizes 1, 64 ...; their intervals are 5 % wide to both sides."""
    return [
        SpeedUp(size, PairedRatio(median, 0.95 * median, 1.05 * median), 0.95 * median > 1)
        for size, median in zip((1, 64), medians, strict=False)
    ]


PLAN = Plan(
    "run", EXITS, "onnxruntime", "f32", (0,), "Deploy exit 0.", (), (), (), (), None, (), {}, "2026-11-27",
)  # fmt: skip


def test_the_verdict_names_speed_accuracy_and_promise(calibrated: CalibrationReport) -> None:
    """Where exits pay, at which batch sizes; else the static network, and why."""
    test = calibrated.test
    bundle = Bundle(
        Path("b"), "onnxruntime", "tiny", (), (), "static.onnx", calibrated.policy, (), None, (3, 8, 8), 1, "", {}
    )

    def verdict(
        made: Bundle, report: CalibrationReport, speedups: list[SpeedUp], *, asked: bool, plan: Plan = PLAN
    ) -> Verdict:
        return convert.verdict(made, report, speedups, plan, asked=asked)

    kept = replace(calibrated, test=replace(test, accuracy_lost=0.01), chance=None)
    both = verdict(bundle, kept, gains(1.2, 1.6), asked=True).sentence
    assert both.startswith(
        "Deploy b: 1.20 times as fast at batch size 1 and 1.60 times as fast at batch size 64, right on"
    )
    assert f"right on {100 * test.accuracy:.1f} % of 12 test images where the static network is" in both
    assert both.endswith("nothing is promised of its accuracy.")
    assert (
        "at batch size 64 (at 1 keep the static network)" in verdict(bundle, kept, gains(0.9, 1.6), asked=True).sentence
    )
    none = verdict(bundle, kept, gains(0.9, 1.02), asked=True).sentence
    assert none.startswith("Keep the static network (b/static.onnx): exits save")
    assert "1.02 times its speed at best, at batch size 64" in none
    never = replace(kept, policy=Policy((None, None)))
    assert "the policy never exits early" in verdict(bundle, never, gains(1.5, 1.5), asked=True).sentence
    worse = replace(kept, test=replace(test, accuracy_lost=0.2))
    found = verdict(bundle, worse, gains(1.2, 1.6), asked=True)
    assert not found.deploy
    assert found.sentence.startswith("Keep the static network (b/static.onnx), unless 20.0 points may be lost: b is")
    promised = replace(worse, promise=Promise("kept", "accuracy-gap", 0.25, 0.95, "own final exit", 400, "exact", 0.01))
    assert not verdict(bundle, promised, gains(1.2, 1.6), asked=False).deploy
    assert verdict(bundle, promised, gains(1.2, 1.6), asked=True).deploy
    chance = replace(kept, chance="It guesses.")
    assert verdict(bundle, chance, gains(6.0, 8.0), asked=True) == (False, "Nothing can be said. It guesses.")
    planned = replace(PLAN, deploy=STATIC, exits=(), sentence="Do not convert.")
    assert verdict(bundle, kept, gains(1.2, 1.6), asked=True, plan=planned) == (False, "Do not convert. It is in b.")


@pytest.mark.usefixtures("workplace")
def test_one_command_leads_from_weights_to_a_verdict(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle answers, the weights are the owner's, and each figure stands in the document."""
    monkeypatch.setattr(plan_runtimes, "RUNTIMES", (("onnxruntime", "f32"),))
    status, _, errors = shell(
        "train", "--data", "images", "--model", "tiny_nets:plain", "--recipe", "backbone", "--epochs", 2, "--out", "own"
    )
    assert status == 0, errors
    backbone = load("own", trust=True).to_backbone()
    torch.save(backbone.state_dict(), "own.pth")
    given = (
        "convert", "--data", "images", "--model", "tiny_nets:plain", "--weights", "own.pth", "--out", "bundle",
        "--preprocessing", "own/model.json", "--epochs", 1, "--calibration-fraction", 0.5,
    )  # fmt: skip
    status, output, errors = shell(*given, "--json")
    assert status == 0, errors
    for step in ("1/5", "2/5", "3/5", "4/5", "5/5", "For 20 certify images: --budget 0.5"):
        assert step in errors
    assert json.loads(output)["notes"][-1] in errors
    made = json.loads(output)
    assert [one["batch_size"] for one in made["speedups"]] == [1, 64]
    assert made["verdict"].startswith(
        ("Deploy bundle", "Keep the static network", "Nothing can be said", "Do not convert")
    )
    assert (made["runtime"], made["statics"]) == ("onnxruntime", ["onnxruntime"])
    assert made["deploy"] == made["verdict"].startswith("Deploy")
    assert (made["bundle"], made["run"], made["samples"], made["promise"]) == ("bundle", "bundle-run", 12, None)
    kept = load("bundle-run", trust=True).to_backbone()
    for name, value in backbone.state_dict().items():
        assert torch.equal(kept.state_dict()[name], value)
    assert load("bundle-run", trust=True).preprocessing == load("own", trust=True).preprocessing
    assert shell("predict", "bundle", "images/test")[0] == 0
    status, _, errors = shell(*given)
    assert (status, "--overwrite replaces it" in errors) == (2, True)


@pytest.mark.usefixtures("workplace")
def test_what_is_missing_is_told_before_anything_is_made(shell: Shell) -> None:
    """No weights, a promise that the images cannot make, a place that holds something else."""
    given = ("convert", "--data", "images", "--model", "tiny_nets:plain", "--out", "bundle")
    for more, message in (
        ((), "Missing option '--weights'"),
        (("--weights", "x.pth"), "x.pth"),
        (("--weights", "x.pth", "--out", "images"), "is no bundle"),
        (("--weights", "x.pth", "--max-accuracy-loss", 0.01, "--budget", 0.5), "Expected one of"),
        (("--weights", "x.pth", "--max-accuracy-loss", 0.01), "Expected at least 301 certify samples"),
    ):
        status, output, errors = shell(*given, *more)
        assert (status, output) == (2, ""), errors
        assert message in errors
        assert not Path("bundle").exists()
