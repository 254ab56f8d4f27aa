"""Paths in a run's settings are absolute, and found again from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.paths import absolute, data_is_there, from_run, located, same_place, shown


def test_paths_become_absolute_and_names_stay(workplace: Path) -> None:
    """A dataset's name wins over a folder so called, as where it is read; what is not there stays as it was typed."""
    (workplace / "cifar10").mkdir()
    (workplace / "weights.pth").touch()
    config = absolute(TrainConfig(data="others/../images", init="nowhere", weights="weights.pth"))
    assert config.data == str(workplace / "images")
    assert (config.init, config.weights) == ("nowhere", str(workplace / "weights.pth"))
    assert absolute(TrainConfig(data="cifar10")).data == "cifar10"
    assert absolute(TrainConfig(data="./cifar10")).data == str(workplace / "cifar10")
    assert absolute(TrainConfig(data="cifra10")).data == "cifra10"


def test_relative_paths_of_older_runs_are_found(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working directory first, then from the folders above the run; else they stay."""
    run = workplace / "runs" / "first"
    run.mkdir(parents=True)
    config = TrainConfig(data="images")
    assert located(config, Path("runs/first")).data == "images"
    (workplace / "elsewhere").mkdir()
    monkeypatch.chdir(workplace / "elsewhere")
    assert located(config, Path("../runs/first")).data == str(workplace / "images")
    assert located(TrainConfig(data="gone"), run).data == "gone"
    assert not data_is_there(located(TrainConfig(data="gone"), run))
    assert data_is_there(TrainConfig(data="cifar10"))


def test_data_that_moved_with_its_run_is_found(workplace: Path) -> None:
    """The record says where the data is seen from the run: a project's folder may be renamed."""
    run = workplace / "runs" / "first"
    run.mkdir(parents=True)
    path = from_run(str(workplace / "images"), run)
    assert path == "../../images"
    (run / "data.json").write_text(json.dumps({"fingerprint": "", "path": path}))
    assert located(TrainConfig(data="/gone/images"), run).data == str(workplace / "images")
    assert from_run("mnist5k", run) is None


def test_two_spellings_of_a_path_are_one_place(workplace: Path) -> None:
    """Links and relative paths are followed; a name is no path."""
    (workplace / "link").symlink_to(workplace / "images")
    (workplace / "cifar10").mkdir()
    assert same_place("data", "images", str(workplace / "images"))
    assert same_place("data", "link", "others/../images")
    assert not same_place("data", "images", "others")
    assert not same_place("data", "cifar10", "./cifar10")
    assert same_place("data", "cifar10", "cifar10")
    assert not same_place("init", "", str(workplace))


def test_messages_tell_short_paths(workplace: Path) -> None:
    """Below the working directory the path from there, elsewhere all of it."""
    assert shown(str(workplace / "images")) == "images"
    assert shown("/elsewhere/images") == "/elsewhere/images"
    assert shown("mnist5k") == "mnist5k"
