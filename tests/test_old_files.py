"""A run and a bundle of version 0.1.0 are read by every later one; tests/old says how they were made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import write_images

import shallowdeep
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions

if TYPE_CHECKING:
    from tests.conftest import Shell

OLD = Path(__file__).parent / "old"


@pytest.fixture
def old(workplace: Path) -> Path:
    """Copies of the old run and bundle beside the images they were made from."""
    shutil.rmtree(workplace / "images")
    write_images(workplace / "images", "train", 600)
    write_images(workplace / "images", "test", 120)
    for name in ("run", "bundle"):
        shutil.copytree(OLD / name, workplace / name)
    return workplace


def answers(path: Path) -> list[dict[str, Any]]:
    """Predictions in a `predict` document, without what rounding changes."""
    found = json.loads(path.read_text())["predictions"]
    return [{key: answer[key] for key in ("label", "exit", "forced", "abstained")} for answer in found]


def test_the_old_bundle_answers_as_it_did(old: Path, shell: Shell) -> None:
    """The same labels from the same exits, all three of them taken."""
    status, output, errors = shell("predict", "bundle", "images/test", "--json")
    assert status == 0, errors
    (old / "new.json").write_text(output)
    assert answers(old / "new.json") == answers(OLD / "answers.json")
    assert {answer["exit"] for answer in answers(OLD / "answers.json")} == {0, 1, 2}


def test_the_old_run_is_evaluated_calibrated_analyzed_and_exported(old: Path, shell: Shell) -> None:
    """Every command takes it, and finds what was found then."""
    then = json.loads((old / "run/metrics.json").read_text())
    status, output, errors = shell("evaluate", "run", "--trust", "--json")
    assert status == 0, errors
    now = json.loads(output)
    assert now["exits"] == then["exits"]
    for point, before in zip(now["operating_points"], then["operating_points"], strict=True):
        assert point.pop("relative_cost") == pytest.approx(before.pop("relative_cost"))
        assert point == before
    policy = json.loads((old / "run/policy.json").read_text())
    status, output, errors = shell("calibrate", "run", "--trust", "--threshold", 0.99, "--json")
    assert status == 0, errors
    assert json.loads(output)["policy"]["thresholds"] == policy["thresholds"]
    assert shell("analyze", "run", "--trust", "--resamples", 0)[0] == 0
    assert shell("export", "run", "--trust", "--out", "again")[0] == 0
    status, output, _ = shell("predict", "again", "images/test", "--json")
    (old / "new.json").write_text(output)
    assert answers(old / "new.json") == answers(OLD / "answers.json")


def test_the_old_policy_and_predictions_go_together(old: Path) -> None:
    """The policy takes the exits on the old predictions that its bundle takes; the network gives these logits."""
    network = shallowdeep.load(old / "run", trust=True)
    pred = ExitPredictions.load(old / "run/predictions/test.npz")
    policy = read_policy(old / "run/policy.json", network.weights)
    decided = shallowdeep.decide(policy, pred.logits, pred.costs)
    assert decided.exits.tolist() == [answer["exit"] for answer in answers(OLD / "answers.json")]
    assert np.asarray(pred.costs) == pytest.approx(np.asarray(network.costs))
    assert network.preprocessing is not None
    assert network.input_shape == (3, 16, 16)


def test_the_old_training_is_finished(old: Path, shell: Shell) -> None:
    """Its settings are read, and there is nothing to resume."""
    assert old.is_dir()
    status, _, errors = shell("train", "--resume", "--out", "run", "--trust")
    assert status == 0, errors
    assert "trained to the end before" in errors
