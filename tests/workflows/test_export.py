"""A run becomes a bundle that answers as the run's policy decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.made_run import TRUSTING

from shallowdeep.artifacts import POLICY
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.runs.splits import own_splits
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run


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
