"""The command `calibrate`: its document, its files, and what it refuses in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import write_images

from shallowdeep.calibration.abstention_fit import answered
from shallowdeep.checkpoint import read_manifest
from shallowdeep.exits.policy import decide
from shallowdeep.exits.policy_file import policy_document, read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.runs.confusion_file import read_statistics

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

SPLIT = ("--calibration-fraction", 0.5)  # 10 tune, 20 certify
JOINT = ("--recipe", "joint", "--exits", 2, "--epochs", 2, *SPLIT)
PROMISE = ("--max-accuracy-loss", 0.4, "--confidence", 0.8)
LOOSE = ("--max-accuracy-loss", 0.7)  # what half of 20 images can promise
BLOCK = {
    "samples", "accuracy", "final_accuracy", "accuracy_lost", "disagreement", "relative_cost", "exit_shares", "forced",
    "relative_time", "answered",
}  # fmt: skip


def calibrated(shell: Shell, *arguments: object) -> dict[str, Any]:
    """The document of `calibrate run`."""
    status, output, errors = shell("calibrate", "run", "--trust", *arguments, "--json")
    assert status == 0, errors
    assert "Warning" not in errors
    found: dict[str, Any] = json.loads(output)
    return found


def refused(shell: Shell, *arguments: object) -> str:
    """The one line of a `calibrate` that must end with status 2."""
    status, output, errors = shell("calibrate", *arguments, "--trust", "--json")
    assert (status, output, errors.count("\n")) == (2, "", 1), errors
    return errors


@pytest.mark.parametrize(
    "asked", [("--threshold", 0.5), ("--budget", 0.7), PROMISE, (*PROMISE, "--risk", "disagreement")]
)
def test_every_objective_gives_a_policy_for_these_weights(
    trained: Training, shell: Shell, asked: tuple[object, ...]
) -> None:
    """The document has the contract's keys, and its numbers are those of the policy file on the predictions written."""
    trained("run", *JOINT)
    found = calibrated(shell, *asked)
    assert {"policy", "tune", "certify", "test", "promise"} <= set(found)
    policy = read_policy(Path("run/policy.json"), str(read_manifest("run").weights["sha256"]))
    assert policy_document(policy) == found["policy"]
    for name, samples in (("tune", 10), ("certify", 20), ("test", 12)):
        block = found[name]
        assert set(block) == BLOCK
        assert block["samples"] == samples
        pred = ExitPredictions.load(Path(f"run/predictions/{name}.npz"))
        decisions = decide(policy, pred.logits)
        assert block["accuracy"] == pytest.approx(np.mean(decisions.labels == pred.labels))
        assert block["exit_shares"] == pytest.approx((np.bincount(decisions.exits, minlength=3) / samples).tolist())
        assert block["final_accuracy"] == pytest.approx(np.mean(pred.logits[-1].argmax(-1) == pred.labels))
        assert 0 < block["relative_cost"] <= pred.costs[-1]
    assert (found["curve"] is not None) == (asked[0] == "--threshold")
    if asked[0] == "--budget":
        assert found["tune"]["relative_cost"] <= 0.7
    if found["promise"] is not None:
        assert "80 % confidence over the draw of the 20 certify images" in found["promise"]["sentence"]


def test_people_get_tables_and_notes(trained: Training, shell: Shell) -> None:
    """Tables on standard output within 100 columns; notes and files on standard error."""
    trained("run", *JOINT)
    status, output, errors = shell("calibrate", "run", "--trust", "--budget", 0.7, "--temperatures")
    assert status == 0
    assert all(len(line) <= 100 for line in output.splitlines())
    for words in ("leaves from", "points lost", "certify", "final"):
        assert words in output
    assert "Chosen on 10 tune samples: these are few" in errors
    assert "Written: run/policy.json" in errors


@pytest.mark.parametrize("asked", [("--threshold", 0.6), ("--budget", 0.8), (*PROMISE, "--max-relative-cost", 2.0)])
def test_ensembles_are_fitted_for_every_objective(trained: Training, shell: Shell, asked: tuple[object, ...]) -> None:
    """On `tune`, without temperatures, which are refused; what was fitted goes with all exits in use."""
    trained("run", *JOINT)
    found = calibrated(shell, *asked, "--signal", "ensemble")
    policy = found["policy"]
    assert found["temperatures"] is None
    alone = policy["thresholds"] == [None, None]
    assert policy["found"]["ensemble_from"] == (None if alone else "tune")
    assert alone or [len(row) for row in policy["ensemble"]["weights"]] == [1, 2, 3]
    assert None not in policy["thresholds"] or alone
    status, output, errors = shell("calibrate", "run", "--trust", *asked, "--signal", "ensemble")
    assert status == 0
    assert ("weights and class biases fitted on tune" in output) == (not alone)
    assert "these are few" in errors
    refused = shell("calibrate", "run", "--trust", *asked, "--signal", "ensemble", "--temperatures")
    assert refused[0] == 2
    assert "Expected no temperatures beside the signal 'ensemble'" in refused[2]


def test_signal_fallback_and_limit_go_into_the_policy(trained: Training, shell: Shell) -> None:
    """The policy says what it was asked for; no image costs more than the limit."""
    trained("run", *JOINT)
    found = calibrated(
        shell, "--threshold", 0.9, "--signal", "entropy", "--fallback", "most-confident", "--max-relative-cost", 0.95,
        "--temperatures",
    )  # fmt: skip
    policy = found["policy"]
    assert (policy["signal"], policy["fallback"], policy["max_relative_cost"]) == ("entropy", "most-confident", 0.95)
    assert policy["temperatures"] == found["temperatures"]["values"]
    assert found["temperatures"]["label_loss_after"] <= found["temperatures"]["label_loss_before"]
    assert found["test"]["exit_shares"][-1] == 0
    assert found["test"]["relative_cost"] <= 0.95
    assert found["test"]["forced"] > 0


def test_losses_can_be_told_against_a_separate_backbone(trained: Training, shell: Shell) -> None:
    """`--backbone` compares the test accuracy with that run's final exit, on the same split only."""
    trained("run", *JOINT)
    trained("start", "--recipe", "backbone", "--epochs", 1, *SPLIT)
    trained("other", "--recipe", "backbone", "--epochs", 1)
    found = calibrated(shell, "--threshold", 0.5, "--backbone", "start")
    other = found["backbone"]
    assert other["run"] == "start"
    assert other["accuracy_lost"] == pytest.approx(other["final_accuracy"] - found["test"]["accuracy"])
    message = refused(shell, "run", "--threshold", 0.5, "--backbone", "other")
    assert "Expected a backbone trained on the same split" in message


@pytest.mark.parametrize("asked", [("--threshold", 0.6), LOOSE])
def test_abstaining_comes_with_a_promise_of_its_own(trained: Training, shell: Shell, asked: tuple[object, ...]) -> None:
    """The policy file withholds answers, the document says how many, and two promises are tested on halves."""
    trained("run", *JOINT)
    found = calibrated(shell, *asked, "--abstain", 0.9, "--confidence", 0.6)
    policy = read_policy(Path("run/policy.json"), str(read_manifest("run").weights["sha256"]))
    assert policy.abstention is not None
    assert found["abstention"]["threshold"] == policy.abstention.threshold
    promise = found["abstention"]["promise"]
    assert "at most 90 % of the answers that this policy gives are wrong" in promise["sentence"]
    assert promise["samples"] == (20 if asked is not LOOSE else 10)
    statistics = read_statistics(Path("run"), policy.weights)
    on_test = answered(policy, ExitPredictions.load(Path("run/predictions/test.npz")), statistics)
    given = on_test.doubts[policy.abstention.indicator] <= policy.abstention.threshold
    assert found["test"]["answered"]["answered_share"] == pytest.approx(given.mean())
    assert found["test"]["answered"]["error_rate"] == pytest.approx(on_test.wrong[given].mean())
    assert ("both at once hold with 20 %" in " ".join(found["notes"])) == (asked is LOOSE)
    assert "Expected an error rate in [0.0001, 1)" in refused(shell, "run", *asked, "--abstain", 2)
    assert "certify samples to promise at most 1 % errors" in refused(
        shell, "run", *asked, "--abstain", 0.01, "--confidence", 0.6
    )


def test_bad_objectives_are_told_in_one_line(trained: Training, shell: Shell) -> None:
    """Two objectives, values out of range, unknown names, too few certify images, a plain backbone, no run."""
    trained("run", *JOINT)
    trained("plain", "--recipe", "backbone", "--epochs", 1)
    one = "Expected one of --threshold, --budget, --max-accuracy-loss, got"
    assert f"{one} --threshold and --budget" in refused(shell, "run", "--threshold", 0.5, "--budget", 0.5)
    assert "Expected thresholds of at least 0, got -1.0" in refused(shell, "run", "--threshold", -1)
    assert "Expected a budget above 0, got 0.0" in refused(shell, "run", "--budget", 0)
    assert "such as 0.5 for half of it, got 50" in refused(shell, "run", "--budget", 50)
    assert "Expected a budget of at least 0." in refused(shell, "run", "--budget", 0.001)
    assert "such as 0.01 for a point, got 1.0" in refused(shell, "run", "--max-accuracy-loss", 1)
    assert "Expected a confidence in (0, 1), got 95.0" in refused(shell, "run", *PROMISE[:2], "--confidence", 95)
    assert "nearest: disagreement" in refused(shell, "run", *PROMISE, "--risk", "disagree")
    assert "nearest: entropy" in refused(shell, "run", *PROMISE, "--signal", "entropie")
    assert "name of a fallback rule" in refused(shell, "run", *PROMISE, "--fallback", "first")
    assert "batch size of at least 1" in refused(shell, "run", *PROMISE, "--batch-size", 0)
    few = refused(shell, "run", "--max-accuracy-loss", 0.01)
    assert "Expected at least 301 certify samples" in few
    assert "got 20; all 60 images for training are too few to hold out so many: calibrate --data FOLDER takes" in few
    assert "a loss of at most 14 % can be promised with these; --budget and --threshold" in few
    assert not Path("run/policy.json").exists()
    assert "Expected a run with internal classifiers" in refused(shell, "plain", "--threshold", 0.5)
    assert "Expected a saved network" in refused(shell, "nowhere", "--threshold", 0.5)


def test_a_policy_goes_with_the_weights_it_was_made_for(trained: Training, shell: Shell) -> None:
    """Training the run anew takes its policy and predictions away."""
    trained("run", *JOINT)
    calibrated(shell, "--threshold", 0.5)
    trained("run", *JOINT, "--overwrite", "--seed", 1)
    assert not Path("run/policy.json").exists()
    assert not list(Path("run/predictions").glob("*.npz"))


def test_without_an_objective_the_images_decide(trained: Training, shell: Shell) -> None:
    """20 certify images are too few for a promise: a budget. 130 held-out ones are enough for one of 5 points."""
    trained("run", *JOINT)
    status, output, errors = shell("calibrate", "run", "--trust", "--json")
    assert status == 0, errors
    assert "For 20 certify images: --budget 0.5" in errors
    assert json.loads(output)["policy"]["found"]["method"] == "budget"
    write_images(Path(), "mine", 195)
    status, output, errors = shell("calibrate", "run", "--trust", "--data", "mine", "--json")
    assert status == 0, errors
    assert "For 130 certify images: --max-accuracy-loss 0.05" in errors
    assert json.loads(output)["policy"]["found"]["max_accuracy_loss"] == 0.05


def test_held_out_images_of_ones_own_take_the_place_of_the_run_s(trained: Training, shell: Shell) -> None:
    """They are cut in three; the policy names them; the run's own predictions of tune and certify stay as they were."""
    trained("run", *JOINT)
    own = calibrated(shell, "--budget", 0.7)
    kept = {name: Path(f"run/predictions/{name}.npz").read_bytes() for name in ("tune", "certify")}
    write_images(Path(), "mine", 90)
    found = calibrated(shell, "--data", "mine", "--max-accuracy-loss", 0.2)
    assert [found[name]["samples"] for name in ("tune", "certify", "test")] == [30, 60, 12]
    assert found["policy"]["found"]["dataset"] == "mine"
    assert found["policy"]["found"]["data_fingerprint"] != own["policy"]["found"]["data_fingerprint"]
    assert {name: Path(f"run/predictions/{name}.npz").read_bytes() for name in kept} == kept
    status, _, errors = shell("export", "run", "--trust", "--out", "bundle")
    assert status == 0, errors


def test_a_copy_of_the_run_s_own_data_is_its_own_data(trained: Training, shell: Shell) -> None:
    """Moved data is named by --data and gives the same policy; training images are no held-out ones."""
    trained("run", *JOINT)
    own = calibrated(shell, "--budget", 0.7)
    shutil.move("images", "moved")
    assert "--data" in refused(shell, "run", "--budget", 0.7)
    found = calibrated(shell, "--budget", 0.7, "--data", "moved")
    assert found["policy"]["thresholds"] == own["policy"]["thresholds"]
    assert found["policy"]["found"]["data_fingerprint"] == own["policy"]["found"]["data_fingerprint"]
    assert (found["tune"], found["test"]) == (own["tune"], own["test"])
    shutil.copytree("moved", "images")
    shutil.copytree("images/train", "mine")
    seen = refused(shell, "run", "--budget", 0.7, "--data", "mine")
    assert "Expected images in mine that are not among the training images, got 30 of these, such as" in seen
    assert "not among the test images, got 12" in refused(shell, "run", "--budget", 0.7, "--data", "images/test")
    assert "nowhere, which does not exist" in refused(shell, "run", "--budget", 0.7, "--data", "./nowhere")


def test_moved_data_and_held_out_images_together(trained: Training, shell: Shell) -> None:
    """`--held-out` beside `--data`; the comparison with another run looks there too."""
    trained("run", *JOINT)
    trained("other", *JOINT[:4], "--epochs", 1, *SPLIT)
    shutil.move("images", "moved")
    write_images(Path(), "mine", 30)
    asked = ("--budget", 0.7, "--data", "moved", "--held-out", "mine", "--backbone", "other")
    found = calibrated(shell, *asked)
    assert (found["tune"]["samples"], found["policy"]["found"]["dataset"]) == (10, "mine")
    assert found["backbone"]["run"] == "other"


@pytest.mark.usefixtures("workplace")
def test_training_images_in_the_calibration_part_are_noticed(shell: Shell) -> None:
    """A calibration part that is a copy of the training part promises nothing."""
    shutil.copytree("images/train", "images/calibration")
    status, _, errors = shell("train", "--data", "images", "--model", "tiny_nets:plain", "--out", "run", *JOINT)
    assert status == 0, errors
    assert "got 60 of these" in refused(shell, "run", "--budget", 0.7)


@pytest.mark.usefixtures("workplace")
def test_what_follows_a_command_works(shell: Shell) -> None:
    """`train` says what can be promised; the command that `evaluate` suggests is not refused."""
    status, _, errors = shell("train", "--data", "images", "--model", "tiny_nets:plain", "--out", "run", *JOINT)
    assert status == 0, errors
    assert "20 images kept for promises (certify): at best they promise a loss of at most 14 points" in errors
    _, _, errors = shell("evaluate", "run", "--trust")
    suggested = errors.rsplit("Next: shallowdeep ", 1)[1].split()
    assert suggested == ["calibrate", "run", "--budget", "0.5", "--trust"]
    status, _, errors = shell(*suggested)
    assert status == 0
    assert "tune and certify: 10 and 20 images of images" in errors
    assert errors.endswith("Next: shallowdeep export run --out BUNDLE --trust\n")


def test_quantising_prints_nothing_into_the_document(trained: Training) -> None:
    """In a process of its own: the library draws bars on standard output."""
    trained("run", *JOINT)
    command = [sys.executable, "-m", "shallowdeep", "calibrate", "run", "--trust", "--budget", "0.7", "--json"]
    done = subprocess.run(
        [*command, "--backend", "openvino", "--precision", "int8"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["tune"]["samples"] == 10


def test_a_runtime_s_own_outputs_from_the_command_line(trained: Training, shell: Shell) -> None:
    """Calibrated and exported for bf16, the bundle keeps its promise and predicts; without, it says how to have one."""
    trained("run", *JOINT)
    lower = ("--backend", "openvino", "--precision", "bf16")
    found = calibrated(shell, "--max-accuracy-loss", 0.7, *lower)
    assert found["promise"]["runtime"] == "openvino bf16"
    _, _, errors = shell("calibrate", "run", "--trust", "--max-accuracy-loss", 0.7, *lower)
    assert "Next: shallowdeep export run --out BUNDLE --trust" in errors
    status, _, errors = shell(
        "export", "run", "--trust", "--backend", "onnxruntime", "--precision", "f32", "--out", "f32"
    )
    assert "The policy's promise is left out: it is about openvino bf16" in errors
    status, _, errors = shell("export", "run", "--trust", "--out", "bundle")  # for what it was calibrated on
    assert (status, "Nothing is promised" in errors) == (0, False), errors
    status, output, errors = shell("predict", "bundle", "images/test")
    assert status == 0, errors
    assert "in openvino bf16, with a promise" in output
    calibrated(shell, "--budget", 0.7)
    status, _, errors = shell("export", "run", "--trust", *lower, "--out", "bundle", "--overwrite")
    assert "Nothing is promised at bf16: shallowdeep calibrate run --backend openvino --precision bf16" in errors
    assert "Expected --backend beside --precision int8" in refused(shell, "run", "--budget", 0.7, "--precision", "int8")
    assert "nearest: bf16" in refused(shell, "run", "--budget", 0.7, "--backend", "openvino", "--precision", "bf17")
