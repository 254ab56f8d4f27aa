"""A run becomes a bundle that answers as the run's policy decides."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.made_run import TRUSTING
from tests.recorder import Recorder

from shallowdeep.artifacts import CONFIG, POLICY
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.errors import CheckpointError, ConfigurationError, ConversionError, DataError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.backends.openvino_models import precisions
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.precision import Runtime
from shallowdeep.inference.verification import LEAST_EQUAL
from shallowdeep.runs.config import read_config, write_config
from shallowdeep.runs.splits import own_splits
from shallowdeep.workflows.bench import labelled_images
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import _least_equal, export_run


def test_the_bundle_answers_as_the_policy_decides(made_run: Path, workplace: Path) -> None:
    """On the test split: the same labels at the same exits."""
    report, _ = calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    bundle = export_run(made_run, workplace / "bundle", context=TRUSTING)
    splits = own_splits(made_run, load(made_run, trust=True), context=TRUSTING)
    pixels, _ = splits.test.fetch(np.arange(12))
    answers = EarlyExitEngine.from_bundle(bundle.path)(splits.preprocessing.normalize(pixels).numpy())
    expected = outcome_of(report.policy, ExitPredictions.load(made_run / "predictions/test.npz"))
    assert np.asarray(answers.labels).tolist() == np.asarray(expected.labels).tolist()
    assert np.asarray(answers.exits).tolist() == np.asarray(expected.exits).tolist()


@pytest.mark.parametrize("static", [True, False])
def test_progress_tells_files_and_checks(made_run: Path, workplace: Path, *, static: bool) -> None:
    """One step a segment, one for the static network, one for the check of all; the bar is finished."""
    calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    recorder = Recorder()
    context = RunContext(trust=True, progress=recorder)
    bundle = export_run(made_run, workplace / "bundle", static=static, context=context)
    (bar,) = recorder.bars
    assert (bar.what, bar.total, bar.finished) == ("exporting (steps)", len(bundle.segments) + static + 1, True)
    assert bar.steps == [1] * (len(bundle.segments) + static + 1)


def test_what_is_missing_is_told(made_run: Path, workplace: Path) -> None:
    """No policy; then one for other weights."""
    with pytest.raises((ConfigurationError, CheckpointError), match="policy"):
        export_run(made_run, workplace / "bundle", context=TRUSTING)
    calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    text = (made_run / POLICY).read_text()
    weights = load(made_run, trust=True).weights
    (made_run / POLICY).write_text(text.replace(weights, "0" * 64))
    with pytest.raises((ConfigurationError, CheckpointError)):
        export_run(made_run, workplace / "bundle", context=TRUSTING)
    assert not (workplace / "bundle").exists()


def test_the_bundle_says_where_its_data_is_and_how_it_was_split(made_run: Path, workplace: Path) -> None:
    """As an absolute path, with the fingerprint of the split: images added since are noticed by `bench`."""
    calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    write_config(replace(read_config(made_run / CONFIG), data="images"), made_run)  # as in older runs
    bundle = export_run(made_run, workplace / "bundle", context=TRUSTING)
    assert bundle.data["source"] == str(workplace / "images")
    assert bundle.data["fingerprint"] == read_manifest(made_run).data["fingerprint"]
    assert len(labelled_images(bundle, None).labels) == 12
    shutil.copy("images/train/azure/000.png", "images/train/azure/zzz.png")
    with pytest.raises(DataError, match=r"got another split of .*images, in which images were added"):
        labelled_images(bundle, None)
    assert len(labelled_images(bundle, "images").labels) == 12
    assert len(labelled_images(replace(bundle, data={**bundle.data, "fingerprint": None}), None).labels) == 12


def test_answers_at_lower_precision_are_counted(made_run: Path, workplace: Path) -> None:
    """On `tune`: too few equal ones are refused, unless the policy was found on these very outputs."""
    if "bf16" not in precisions():
        pytest.skip("this processor has no bf16")
    calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)
    with pytest.raises(ConversionError, match="at least 200% of the answers in bf16"):
        export_run(made_run, workplace / "a", backend="openvino", precision="bf16", least_equal=2.0, context=TRUSTING)
    assert not (workplace / "a").exists()
    kept = export_run(made_run, workplace / "a", backend="openvino", precision="bf16", context=TRUSTING)
    assert kept.agreement is not None
    assert 0.98 <= kept.agreement.equal <= 1
    calibrate_run(
        made_run, Objective(threshold=0.4), runtime=Runtime("openvino", "bf16"), follow_plan=False, context=TRUSTING
    )
    weights = load(made_run, trust=True).weights
    assert _least_equal(read_policy(made_run / POLICY, weights), Runtime("openvino", "bf16")) == 0
    assert _least_equal(read_policy(made_run / POLICY, weights), Runtime("openvino", "int8")) == LEAST_EQUAL
