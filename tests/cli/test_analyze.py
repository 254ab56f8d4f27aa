"""The commands `analyze` and `report`: documents, files, what is kept and renewed, and what is refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.cli.analyzed import JOINT, document, recorded, refused

from shallowdeep.checkpoint import read_manifest
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.runs.confusion_file import read_statistics

if TYPE_CHECKING:
    from tests.conftest import Shell, Training


def test_analyze_has_the_keys_it_promises(trained: Training, shell: Shell) -> None:
    """The contract's keys; predictions, statistics and the document stay in the run."""
    trained("run", *JOINT)
    found = document(shell, "analyze", "run", "--trust", "--resamples", 50)
    assert (found["source"], found["dataset"], found["split"], found["samples"]) == ("run", "images", "test", 12)
    assert found["classes"] == ["azure", "brick", "coral"]
    assert {"share_of_errors", "chance", "accuracy_gain"} <= set(found["destructive"])
    assert found["confusion"]["normalisation"]["samples"] == 30
    for block in (found["error_indicators"] or {}).values():
        assert {"auroc", "aurc", "augrc", "fpr95", "intervals"} == set(block)
    assert found["provenance"]["seed"] == 0
    assert found["provenance"]["weights"] == read_manifest("run").weights["sha256"]
    kept = {path.name for path in Path("run").iterdir()}
    assert {"confusion.json", "analysis.json"} <= kept
    assert json.loads(Path("run/analysis.json").read_text()) == found
    predictions = ExitPredictions.load(Path("run/predictions/test.npz"))
    right = np.asarray(predictions.logits).argmax(-1) == np.asarray(predictions.labels)
    assert right.shape == (3, 12)
    assert found["wasteful"]["share"] == pytest.approx(right[:-1].any(axis=0).mean())


def test_stored_predictions_are_taken_and_new_weights_clear_them(trained: Training, shell: Shell) -> None:
    """A second analysis needs no images; training anew takes statistics, predictions and analysis away."""
    trained("run", *JOINT)
    first = document(shell, "analyze", "run", "--trust", "--resamples", 0)
    Path("images").rename("elsewhere")
    again = document(shell, "analyze", "run", "--trust", "--resamples", 0)
    assert first["wasteful"] == again["wasteful"]
    assert first["confusion"] == again["confusion"]
    Path("elsewhere").rename("images")
    trained("run", *JOINT, "--overwrite", "--seed", 1)
    assert not Path("run/confusion.json").exists()
    assert not Path("run/analysis.json").exists()
    assert not list(Path("run/predictions").glob("*"))


def test_predictions_of_other_weights_or_damaged_ones_are_made_anew(trained: Training, shell: Shell) -> None:
    """What was stored for other weights is not this network's, even where shapes agree."""
    trained("run", *JOINT)
    found = document(shell, "analyze", "run", "--trust", "--resamples", 0)
    path = Path("run/predictions/test.npz")
    pred = ExitPredictions.load(path)
    ExitPredictions(pred.logits[:, :, ::-1].copy(), pred.labels, pred.costs, weights="0" * 64).save(path)
    assert document(shell, "analyze", "run", "--trust", "--resamples", 0) == found
    path.write_bytes(path.read_bytes()[:200])
    assert document(shell, "analyze", "run", "--trust", "--resamples", 0) == found
    assert ExitPredictions.load(path).samples == 12


def test_what_is_fitted_is_not_judged_on_the_same_samples(trained: Training, shell: Shell) -> None:
    """On tune nothing fitted is shown; on train a note says what that is worth."""
    trained("run", *JOINT)
    on_tune = document(shell, "analyze", "run", "--trust", "--resamples", 0, "--split", "tune")
    assert on_tune["answer_rule"] is None
    assert "trajectory" not in (on_tune["error_indicators"] or {})
    assert json.loads(Path("run/analysis-tune.json").read_text()) == on_tune
    assert not Path("run/analysis.json").exists()  # which is of test
    on_train = document(shell, "analyze", "run", "--trust", "--resamples", 0, "--split", "train")
    assert any("trained on these images" in note for note in on_train["notes"])


def test_promises_of_the_policy_are_told(trained: Training, shell: Shell) -> None:
    """That on the answers given among them; predict withholds by the exported policy."""
    trained("run", *JOINT)
    objective = ("--threshold", 0.6, "--abstain", 0.9, "--confidence", 0.6)
    abstention = document(shell, "calibrate", "run", "--trust", *objective)["abstention"]
    found = document(shell, "analyze", "run", "--trust", "--resamples", 0)
    assert abstention["promise"]["sentence"] in found["promise"]
    document(shell, "export", "run", "--trust", "--out", "bundle")
    answers = document(shell, "predict", "bundle", "images/test")["predictions"]
    for answer in answers:
        doubt = 1 - answer["confidence"]
        if abstention["indicator"] == "confusion":
            doubt = float("-inf") if answer["confusion"] is None else answer["confusion"]
        assert answer["abstained"] == (doubt > abstention["threshold"])
    policy = json.loads(Path("run/policy.json").read_text())
    policy["abstention"]["threshold"] = -5.0
    Path("run/policy.json").write_text(json.dumps(policy))
    assert "altered" in refused(shell, "export", "run", "--trust", "--out", "other")
    del policy["sha256"]
    Path("run/policy.json").write_text(json.dumps(policy))
    document(shell, "export", "run", "--trust", "--out", "other")
    status, output, _ = shell("predict", "other", "images/test")
    withheld = sum(a["confidence"] < 6 and (abstention["indicator"] == "confidence" or a["exit"] > 0) for a in answers)
    assert status == 0
    assert f"Abstained from {withheld}: labels in brackets" in output


def test_statistics_are_those_of_the_training_images(trained: Training, shell: Shell) -> None:
    """Mean and standard deviation of confusion over the un-augmented training split; of these weights only."""
    trained("run", *JOINT)
    document(shell, "analyze", "run", "--trust", "--resamples", 0)
    document(shell, "evaluate", "run", "--trust", "--split", "train")
    weights = str(read_manifest("run").weights["sha256"])
    statistics = read_statistics(Path("run"), weights)
    assert statistics is not None
    logits = ExitPredictions.load(Path("run/predictions/train.npz")).logits.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    values = np.abs(p[:-1] - p[-1]).sum(axis=(0, 2))
    assert statistics.at(2, (0, 1, 2)) == pytest.approx((values.mean(), values.std()), rel=1e-4)
    assert read_statistics(Path("run"), "other") is None


def test_predict_tells_confusion_by_them(trained: Training, shell: Shell) -> None:
    """Z-scored by the statistics that `calibrate` measured and `export` passed on; none at the first exit."""
    trained("run", *JOINT)
    document(shell, "evaluate", "run", "--trust")
    pred = ExitPredictions.load(Path("run/predictions/test.npz"))
    p = np.exp(pred.logits) / np.exp(pred.logits).sum(-1, keepdims=True)
    document(shell, "calibrate", "run", "--trust", "--threshold", float(np.median(p[0].max(-1))))
    document(shell, "export", "run", "--trust", "--out", "bundle")
    answers = document(shell, "predict", "bundle", "images/test")["predictions"]
    statistics = read_statistics(Path("run"), str(read_manifest("run").weights["sha256"]))
    assert statistics is not None
    assert {answer["exit"] for answer in answers} > {0}
    for n, answer in enumerate(answers):
        k = answer["exit"]
        if k == 0:
            assert answer["confusion"] is None
            continue
        raw = np.abs(p[:k, n] - p[k, n]).sum()
        mean, spread = statistics.at(k, range(3))
        assert answer["confusion"] == pytest.approx((raw - mean) / spread, abs=2e-3)


def test_files_of_other_programs_are_analyzed(shell: Shell, workplace: Path) -> None:
    """With and without labels, with another to fit on; nothing is written beside it."""
    path = recorded(class_names=np.array(["x", "y", "z"]))
    before = sorted(workplace.iterdir())
    found = document(shell, "analyze", path, "--resamples", 20)
    assert (found["split"], found["classes"]) == ("file", ["x", "y", "z"])
    assert found["answer_rule"] is None
    assert sorted(workplace.iterdir()) == before
    other = np.random.default_rng(1).normal(size=(3, 40, 3)).astype(np.float32)
    path.rename("tune.npz")
    recorded(logits=other)
    assert document(shell, "analyze", path, "--tune", "tune.npz", "--resamples", 0)["answer_rule"] is not None
    assert "Expected other samples in theirs.npz" in refused(shell, "analyze", path, "--tune", path)
    assert "no --split beside a file" in refused(shell, "analyze", path, "--split", "tune")
    path = recorded(labels=None)
    blind = document(shell, "analyze", path)
    assert blind["wasteful"] is None
    assert "labels" in refused(shell, "analyze", path, "--tune", path)
    status, output, _ = shell("analyze", path)
    assert status == 0
    assert "No labels" in output
    assert re.search(r"Confusion: [+-]\d\.\d\d on average\.", output)
    assert "nan" not in output.lower()


def test_a_plain_backbone_has_one_exit(trained: Training, shell: Shell) -> None:
    """Its analysis says what it can, without a number that is none."""
    trained("run", "--recipe", "backbone", "--epochs", 1)
    status, output, errors = shell("analyze", "run", "--trust")
    assert status == 0, errors
    assert "A single exit" in output
    assert "nan" not in output.lower()
    assert "None" not in output


def test_bad_input_is_told_in_one_line(trained: Training, shell: Shell) -> None:
    """Wrong options and files."""
    trained("run", *JOINT)
    assert "Expected a split among test, tune, train, got 'certify'" in refused(
        shell, "analyze", "run", "--trust", "--split", "certify"
    )
    assert "at least 0 resamples, got -1" in refused(shell, "analyze", "run", "--trust", "--resamples", -1)
    assert "Expected no --tune beside a run" in refused(shell, "analyze", "run", "--trust", "--tune", recorded())
    assert "an npz file of predictions, nowhere.npz does not exist" in refused(shell, "analyze", "nowhere.npz")
    logits = np.full((3, 40, 3), np.inf, np.float32)
    assert "Expected finite logits" in refused(shell, "analyze", recorded(logits=logits))
    Path("run/confusion.json").write_text("[]")
    assert "Expected confusion statistics in run/confusion.json" in refused(shell, "analyze", "run", "--trust")
