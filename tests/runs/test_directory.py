"""Who may write to a run's directory, and what of it is ever deleted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from shallowdeep.data.data_splits import Fingerprints
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.runs.config import TrainConfig, read_config, write_config
from shallowdeep.runs.directory import Standing, begin, claim, require_space

CONFIG = TrainConfig(data="mnist5k", model="resnet20")
Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run."""
    directory = tmp_path / "run"
    write_config(CONFIG, directory)
    for name in ("model.json", "model.safetensors", "history.jsonl", "metrics.json", "predictions/test.npz"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("old")
    return directory


def test_a_new_directory_is_fresh(tmp_path: Path) -> None:
    """One that does not exist, is empty, or holds a first write that was killed may be begun, resuming or not."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".config.toml.0123abcd.toml").touch()
    for name in ("none", "empty", "killed"):
        for resume in (False, True):
            assert claim(tmp_path / name, CONFIG, resume=resume, overwrite=False) is Standing.FRESH


def test_an_existing_run_is_refused(run: Path) -> None:
    """Without --resume or --overwrite nothing is touched; with both nothing is meant."""
    with pytest.raises(OutputError, match="exists; --resume goes on with it, --overwrite replaces it"):
        claim(run, CONFIG, resume=False, overwrite=False)
    with pytest.raises(ConfigurationError, match="Expected --resume or --overwrite, got both"):
        claim(run, CONFIG, resume=True, overwrite=True)


def test_a_run_is_finished_or_not(run: Path) -> None:
    """It is finished when its network is saved and no state is left."""
    assert claim(run, CONFIG, resume=True, overwrite=False) is Standing.FINISHED
    (run / "training.safetensors").touch()
    assert claim(run, CONFIG, resume=True, overwrite=False) is Standing.UNFINISHED
    (run / "training.safetensors").unlink()
    (run / "model.json").unlink()
    assert claim(run, CONFIG, resume=True, overwrite=False) is Standing.UNFINISHED


def test_other_settings_do_not_resume(run: Path) -> None:
    """The setting that differs is named with both values."""
    with pytest.raises(ConfigurationError, match="got seed 3 instead of 0"):
        claim(run, replace(CONFIG, seed=3), resume=True, overwrite=False)


def test_more_epochs_say_how(run: Path) -> None:
    """A schedule ends at its last epoch: a finished run's backbone goes on in a new run, an unfinished one as begun."""
    more = replace(CONFIG, epochs=9)
    command = "`shallowdeep train --init .*run --recipe joint --data mnist5k --epochs 9 --out NEW` goes on from its"
    with pytest.raises(
        ConfigurationError, match=rf"trained to the end of its schedule \(the preset's epochs\); {command}"
    ):
        claim(run, more, resume=True, overwrite=False)
    (run / "training.safetensors").touch()
    with pytest.raises(
        ConfigurationError, match=r"Expected the epochs that .*run was begun with \(the preset's epochs\)"
    ):
        claim(run, more, resume=True, overwrite=False)


def test_more_epochs_keep_the_split(workplace: Path, shell: Shell) -> None:
    """The command that is told can be run: it names seed, fractions, data, and trust where that is needed."""
    trained = ("train", "--data", "images", "--model", "tiny_nets:plain", "--recipe", "backbone", "--seed", 3,
               "--calibration-fraction", 0.25, "--batch-size", 16, "--out", "my run")  # fmt: skip
    assert shell(*trained, "--epochs", 1)[0] == 0
    status, _, errors = shell(*trained, "--epochs", 2, "--resume")
    assert status == 2
    command = errors.split("`")[1]
    assert command == (
        "shallowdeep train --init 'my run' --recipe backbone --data images --seed 3 --calibration-fraction 0.25 "
        "--epochs 2 --out NEW --trust"
    )
    assert shell(*shlex.split(command)[1:], "--batch-size", 16)[0] == 0
    assert read_config(workplace / "NEW" / "config.toml").seed == 3


def test_other_data_does_not_resume_unless_it_can_be_told(run: Path, tmp_path: Path) -> None:
    """A finished run keeps its data; an unfinished one may find it elsewhere if its fingerprints are recorded."""
    moved = replace(CONFIG, data=str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"got data .* instead of 'mnist5k'"):
        claim(run, moved, resume=True, overwrite=False)
    (run / "training.safetensors").touch()
    with pytest.raises(ConfigurationError, match=r"got data .* instead of 'mnist5k'"):
        claim(run, moved, resume=True, overwrite=False)
    (run / "data.json").write_text('{"fingerprint": "cut", "images": "images"}')
    assert claim(run, moved, resume=True, overwrite=False) is Standing.UNFINISHED


@pytest.mark.parametrize("overwrite", [False, True])
def test_strangers_files_are_never_overwritten(tmp_path: Path, overwrite: bool) -> None:
    """A directory that holds files and no run is refused, even with --overwrite; so is a file."""
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(OutputError, match=r"holds files but no config.toml, so it is no run"):
        claim(tmp_path, CONFIG, resume=False, overwrite=overwrite)
    with pytest.raises(OutputError, match=r"thesis.txt is a file"):
        claim(tmp_path / "thesis.txt", CONFIG, resume=False, overwrite=overwrite)


def test_a_run_does_not_overwrite_what_it_reads(run: Path) -> None:
    """A run whose own directory holds its starting weights would destroy them."""
    for config in (replace(CONFIG, init=str(run)), replace(CONFIG, weights=str(run / "model.safetensors"))):
        with pytest.raises(ConfigurationError, match="outside the run to be overwritten"):
            claim(run, config, resume=False, overwrite=True)


def test_beginning_clears_a_runs_own_files_only(run: Path) -> None:
    """An older run's results go, so that none is taken for the new one's; anything else stays."""
    (run / "notes.txt").write_text("mine")
    (run / "predictions" / "notes.txt").write_text("mine")
    (run / ".tmpabcdef").touch()
    assert claim(run, CONFIG, resume=False, overwrite=True) is Standing.FRESH
    begin(run, replace(CONFIG, seed=1), Fingerprints("cut", "images"))
    left = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert left == ["config.toml", "data.json", "notes.txt", "predictions/notes.txt"]
    assert "seed = 1" in (run / "config.toml").read_text()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A path below a file is an output error."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Expected to write"):
        begin(tmp_path / "file" / "run", CONFIG, Fingerprints("cut", "images"))


def test_room_is_asked_for_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the weights must be free: 1 MiB of weights wants 8 MiB."""
    network = nn.Linear(2**18, 1, bias=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 7 * 2**20}))
    message = r"Expected 8\.0 MiB of free space for .*, got 7\.0 MiB: no space left on the disk"
    with pytest.raises(OutputError, match=message):
        require_space(tmp_path / "a" / "b", network)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 8 * 2**20}))
    require_space(tmp_path / "a" / "b", network)
