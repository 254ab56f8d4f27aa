"""What is analyzed: a run or a file, on images that are read only where they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cli.analyzed import recorded
from tests.made_run import TEST, TRUSTING

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.workflows.analyze import How, analyze_any, analyze_file, analyze_run, write_analysis

QUICK = How(resamples=0)


def test_stored_predictions_need_no_images(made_run: Path) -> None:
    """The second analysis finds the same without the data."""
    first, _ = analyze_run(made_run, QUICK, TRUSTING)
    Path("images").rename("elsewhere")
    second, files = analyze_run(made_run, QUICK, TRUSTING)
    assert second.analysis.findings == first.analysis.findings
    assert second.recorded.predictions.samples == TEST
    assert files == []


def test_another_split_has_a_file_of_its_own(made_run: Path) -> None:
    """So that a report of the test split stays what it was."""
    analyzed, files = analyze_run(made_run, How("tune", resamples=0), TRUSTING)
    assert [file.name for file in files] == ["tune.npz"]
    assert write_analysis(made_run, analyzed.analysis).name == "analysis-tune.json"
    assert not (made_run / "analysis.json").exists()


def test_a_file_is_not_fitted_on_itself(workplace: Path) -> None:
    """The samples that a rule is fitted on are others than those it is shown on."""
    path = recorded()
    with pytest.raises(DataError, match="what is fitted on some is not evaluated on them"):
        analyze_file(path, QUICK, path)
    logits = np.load(path)["logits"]
    np.savez(workplace / "unlabelled.npz", logits=logits[:, ::-1], costs=np.array([0.2, 0.6, 1.0]))
    with pytest.raises(DataError, match="Expected labels in"):
        analyze_file(path, QUICK, workplace / "unlabelled.npz")


@pytest.mark.parametrize(
    ("source", "tune", "split", "message"),
    [
        ("nowhere", None, "test", "nowhere does not exist"),
        ("run", "theirs.npz", "test", "Expected no --tune beside a run"),
        ("theirs.npz", None, "tune", "Expected no --split beside a file"),
    ],
)
def test_what_does_not_go_together_is_refused(
    made_run: Path, source: str, tune: str | None, split: str, message: str
) -> None:
    """In one line that says what was expected."""
    assert made_run.exists()
    recorded()
    with pytest.raises(ConfigurationError, match=message):
        analyze_any(Path(source), How(split, resamples=0), None if tune is None else Path(tune), context=TRUSTING)


def test_settings_out_of_range_are_refused() -> None:
    """`certify` is for promises alone, and resamples are counted from 0."""
    with pytest.raises(ConfigurationError, match="Expected a split among"):
        How("certify")
    with pytest.raises(ConfigurationError, match="Expected at least 0 resamples, got -1"):
        How(resamples=-1)
