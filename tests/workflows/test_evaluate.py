"""A run's evaluation: figures of the split asked for, thresholds from tune, files where they belong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.made_run import EXITS, TEST, TRUSTING

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.workflows.evaluate import evaluate_run


def test_figures_are_those_of_the_written_predictions(made_run: Path) -> None:
    """Accuracy of each exit from the logits in the file; thresholds are chosen on 10 tune images."""
    found, files = evaluate_run(made_run, context=TRUSTING)
    assert {file.name for file in files} == {"tune.npz", "test.npz", "metrics.json", "accuracy-cost.png"}
    pred = ExitPredictions.load(made_run / "predictions/test.npz")
    right = np.asarray(pred.logits).argmax(-1) == np.asarray(pred.labels)
    assert [exit_.accuracy for exit_ in found.exits] == pytest.approx(right.mean(axis=1).tolist())
    assert (found.samples, len(found.exits)) == (TEST, EXITS)
    assert found.threshold_curve is not None
    assert (found.threshold_curve.chosen_on, found.threshold_curve.samples_chosen_on) == ("tune", 10)
    assert found.certify_samples == 20


def test_other_data_writes_nothing_unless_told_where(made_run: Path, workplace: Path) -> None:
    """All 30 images of a folder without a test part; the run's own files stay."""
    before = {path: path.stat().st_mtime_ns for path in made_run.rglob("*")}
    found, files = evaluate_run(made_run, data="others", context=TRUSTING)
    assert (found.dataset, found.samples, files) == ("others", 30, [])
    _, files = evaluate_run(made_run, data="others", out=workplace / "there", context=TRUSTING)
    assert all(file.is_relative_to(workplace / "there") and file.exists() for file in files)
    assert {path: path.stat().st_mtime_ns for path in made_run.rglob("*")} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "certify"}, "Expected a split among test, tune, train, got 'certify'"),
        ({"split": "tune", "data": "others"}, "Expected no --split beside --data"),
    ],
)
def test_what_makes_no_sense_is_refused(made_run: Path, settings: dict[str, str], message: str) -> None:
    """`certify` is for promises alone."""
    with pytest.raises(ConfigurationError, match=message):
        evaluate_run(made_run, context=TRUSTING, **settings)  # type: ignore[arg-type]


def test_other_data_needs_no_data_of_the_run(made_run: Path) -> None:
    """Where the run's own is gone, other data is evaluated without thresholds."""
    shutil.rmtree("images")
    found, files = evaluate_run(made_run, data="others", out=Path("elsewhere"), context=TRUSTING)
    assert (found.dataset, found.samples, found.threshold_curve, found.operating_points) == ("others", 30, None, ())
    assert [file.name for file in files if file.suffix == ".npz"] == ["all.npz"]
    with pytest.raises(ConfigurationError, match="--data names the place"):
        evaluate_run(made_run, context=TRUSTING)
