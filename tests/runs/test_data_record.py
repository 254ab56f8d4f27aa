"""A run's settings, its record of the data and its weights are of one training, or the run is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shallowdeep.artifacts import CONFIG, DATA
from shallowdeep.checkpoint import read_manifest
from shallowdeep.data.data_splits import Fingerprints
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import ConfigurationError
from shallowdeep.runs.config import read_config, write_config
from shallowdeep.runs.data_record import check_data, check_record, is_own


def forget(run: Path) -> None:
    """Make the run's manifest one that says nothing of the data, as older ones."""
    document = json.loads((run / "model.json").read_text())
    del document["data"], document["sha256"]
    (run / "model.json").write_text(json.dumps(document))


def fingerprints() -> Fingerprints:
    """Those of the images that the run was trained on."""
    return load_dataset("images", image_size=16, calibration_fraction=0.5).fingerprints


def test_the_manifest_carries_the_split(made_run: Path) -> None:
    """The fingerprint of data.json, and the settings that it follows from."""
    known = json.loads((made_run / DATA).read_text())["fingerprint"]
    assert known == fingerprints().splits
    assert read_manifest(made_run).data == {
        "fingerprint": known, "seed": 0, "calibration_fraction": 0.5, "test_fraction": 0.2,
    }  # fmt: skip
    check_record(made_run)


def test_settings_of_another_seed_are_refused(made_run: Path) -> None:
    """config.toml of another training is named, with both values; an older manifest cannot tell."""
    write_config(replace(read_config(made_run / CONFIG), seed=7), made_run)
    with pytest.raises(
        ConfigurationError, match=r"Expected config\.toml of .*run .* got seed 7 instead of 0; files of"
    ):
        check_record(made_run)
    forget(made_run)
    check_record(made_run)


def test_a_record_of_another_split_is_refused(made_run: Path) -> None:
    """data.json of another training is named; without one the manifest's fingerprint counts."""
    known = fingerprints()
    (made_run / DATA).write_text(json.dumps({"fingerprint": "another", "images": known.images}))
    with pytest.raises(ConfigurationError, match=r"Expected data\.json of .*run .* got another split of the data"):
        check_record(made_run)
    (made_run / DATA).unlink()
    check_record(made_run)
    check_data(made_run, known, "images")
    with pytest.raises(ConfigurationError, match=r"Expected images split as .*run was trained on it"):
        check_data(made_run, Fingerprints("another", known.images), "images")


def test_own_data_is_told_by_its_fingerprints(made_run: Path) -> None:
    """Another cut and other images are not its own; a run without any record owns nothing."""
    known = fingerprints()
    assert is_own(made_run, known)
    assert not is_own(made_run, Fingerprints(known.splits, "other images"))
    assert not is_own(made_run, Fingerprints("another", known.images))
    (made_run / DATA).unlink()
    assert is_own(made_run, known)
    forget(made_run)
    assert not is_own(made_run, known)
