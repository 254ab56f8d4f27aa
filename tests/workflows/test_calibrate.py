"""A run's policy: chosen on tune, shown on all splits, kept beside the predictions it was chosen from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.made_run import EXITS, TRUSTING

from shallowdeep.artifacts import POLICY
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import read_manifest
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.precision import Runtime
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run


def test_figures_are_those_of_the_written_policy_on_the_written_predictions(made_run: Path) -> None:
    """Accuracy and cost of each split, recomputed sample by sample from the files."""
    report, files = calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    assert {file.name for file in files} == {"tune.npz", "certify.npz", "test.npz", POLICY}
    policy = read_policy(made_run / POLICY, str(read_manifest(made_run).weights["sha256"]))
    for name in ("tune", "certify", "test"):
        pred = ExitPredictions.load(made_run / f"predictions/{name}.npz")
        outcome = outcome_of(policy, pred)
        shown = getattr(report, name)
        assert shown.accuracy == pytest.approx(float(np.mean(np.asarray(outcome.labels) == np.asarray(pred.labels))))
        assert shown.relative_cost == pytest.approx(float(outcome.costs.mean()))
    assert report.tune.relative_cost <= 0.6
    assert len(report.exits) == EXITS


def test_only_a_threshold_draws_a_curve(made_run: Path) -> None:
    """For every other objective the choice is made, and there is nothing to look up."""
    drawn = calibrate_run(made_run, Objective(threshold=0.5), context=TRUSTING)[0].curve
    assert drawn is not None
    assert list(drawn.thresholds) == sorted(drawn.thresholds)
    assert len(drawn.thresholds) == len(drawn.tune.accuracy) == len(drawn.test.relative_cost)
    assert calibrate_run(made_run, Objective(budget=0.5), context=TRUSTING)[0].curve is None


def test_a_certify_split_that_is_too_small_is_refused_before_predicting(made_run: Path) -> None:
    """20 images promise no loss of a point; the message names what would do."""
    with pytest.raises(ConfigurationError, match="certify"):
        calibrate_run(made_run, Objective(max_accuracy_loss=0.01), context=TRUSTING)
    assert not (made_run / "predictions").exists()


def test_a_run_without_settings_is_refused(made_run: Path) -> None:
    """Nothing says what was held out in training."""
    (made_run / "config.toml").unlink()
    with pytest.raises(ConfigurationError, match="which says what was held out in training, found none"):
        calibrate_run(made_run, Objective(budget=0.5), context=TRUSTING)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_runtime_s_own_outputs_are_what_is_promised(made_run: Path, precision: str) -> None:
    """Chosen and tested on them, against float32's answers; a bundle of that runtime keeps the promise, others not."""
    objective = Objective(max_accuracy_loss=0.6, confidence=0.6, abstain=0.9)
    report, files = calibrate_run(made_run, objective, runtime=Runtime("openvino", precision), context=TRUSTING)
    promise = report.promise
    assert promise is not None
    assert (promise.runtime, promise.against) == (f"openvino {precision}", "float32 final exit")
    assert (
        f"this policy in openvino {precision} is at most 60 points less accurate than the float32" in promise.sentence
    )
    own = ExitPredictions.load(next(file for file in files if file.name == "test.npz"))
    assert (own.backend, own.reference) == ("torch", None)
    assert report.test.final_accuracy == pytest.approx(
        float((np.asarray(own.logits)[-1].argmax(-1) == np.asarray(own.labels)).mean())
    )
    kept = export_run(made_run, Path("kept"), backend="openvino", precision=precision, context=TRUSTING)
    assert (kept.policy.promise, kept.policy.abstention) == (promise, report.abstention)
    other = export_run(made_run, Path("f32"), backend="openvino", context=TRUSTING).policy
    assert other.promise is None
    assert other.abstention is not None
    assert other.abstention.promise is None
    assert read_bundle(Path("kept")).policy.promise == promise


def test_a_float32_runtime_s_promise_holds_in_every_runtime(made_run: Path) -> None:
    """Float32 outputs are alike everywhere, so it is the same promise as without a runtime."""
    objective = Objective(max_accuracy_loss=0.5, confidence=0.6)
    report, _ = calibrate_run(made_run, objective, runtime=Runtime("openvino", "f32"), context=TRUSTING)
    plain, _ = calibrate_run(made_run, objective, context=TRUSTING)
    assert report.promise == plain.promise
    assert report.promise is not None
    assert report.promise.runtime == ""
    for name in ("openvino", "onnxruntime"):
        assert export_run(made_run, Path(name), backend=name, context=TRUSTING).policy.promise == report.promise


def test_float32_promises_hold_in_every_runtime(made_run: Path) -> None:
    """But not at a lower precision."""
    report, _ = calibrate_run(made_run, Objective(max_accuracy_loss=0.5, confidence=0.6), context=TRUSTING)
    assert report.promise is not None
    assert report.promise.runtime == ""
    for name, backend, precision, there in (("a", "openvino", "f32", True), ("b", "openvino", "bf16", False)):
        bundle = export_run(made_run, Path(name), backend=backend, precision=precision, context=TRUSTING)
        assert (bundle.policy.promise is not None) == there
