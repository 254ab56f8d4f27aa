"""A run is read whole, from where its data is now, and left as it is where that was asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.made_run import kept_run, made_run

from shallowdeep.files import exclusive, reading

__all__ = ["kept_run", "made_run"]

Shell = Callable[..., tuple[int, str, str]]
READERS = {
    "evaluate": ("evaluate", "run"),
    "calibrate": ("calibrate", "run", "--threshold", 0.9),
    "analyze": ("analyze", "run", "--resamples", 0),
    "report": ("report", "run", "--resamples", 0, "--images", 1),
    "slowdown": ("audit", "slowdown", "run", "--samples", 4, "--iterations", 1, "--no-timing"),
    "export": ("export", "run", "--out", "bundle", "--no-static"),
}
WITH_DATA = ("evaluate", "analyze", "report", "slowdown")


def refused(shell: Shell, *arguments: object) -> str:
    """The one line of a command that must end with status 2."""
    status, output, errors = shell(*arguments, "--trust")
    lines = [line for line in errors.splitlines() if line.startswith("shallowdeep:")]
    assert (status, output, len(lines)) == (2, "", 1), errors
    return lines[0]


def done(shell: Shell, *arguments: object) -> str:
    """Standard output of a command that must end well."""
    status, output, errors = shell(*arguments, "--trust", "--json")
    assert status == 0, errors
    return output


def state_of(run: Path) -> dict[Path, int]:
    """When each file and folder of a run changed."""
    return {path: path.stat().st_mtime_ns for path in (run, *run.rglob("*"))}


@pytest.fixture
def calibrated(made_run: Path, shell: Shell) -> Path:
    """The run with a policy and predictions."""
    done(shell, *READERS["calibrate"])
    return made_run


@pytest.mark.parametrize("name", READERS)
def test_a_run_of_several_trainings_is_refused(calibrated: Path, shell: Shell, name: str) -> None:
    """Settings of another seed, or another's record of the data, beside the weights."""
    before = state_of(calibrated)
    settings = (calibrated / "config.toml").read_text()
    (calibrated / "config.toml").write_text(settings.replace("seed = 0", "seed = 1"))
    assert "got seed 1 instead of 0; files of several runs do not go together" in refused(shell, *READERS[name])
    (calibrated / "config.toml").write_text(settings)
    record = json.loads((calibrated / "data.json").read_text())
    (calibrated / "data.json").write_text(json.dumps({**record, "fingerprint": "another"}))
    assert "got another split of the data; files of several" in refused(shell, *READERS[name])
    assert state_of(calibrated).keys() == before.keys()


def test_heads_are_not_trained_on_a_run_of_several_trainings(made_run: Path, shell: Shell) -> None:
    """Their split would be of another seed than the backbone's."""
    path = made_run / "config.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1"))
    heads = ("train", "--data", "images", "--init", "run", "--recipe", "ic-only", "--out", "heads", "--seed", 1)
    assert "got seed 1 instead of 0" in refused(shell, *heads)


@pytest.mark.parametrize("name", READERS)
def test_readers_share_a_run_and_keep_trainings_away(calibrated: Path, shell: Shell, name: str) -> None:
    """A command reads what others read, and not what a training writes; no training replaces what is read."""
    assert calibrated.exists()
    with reading(Path("run")):
        done(shell, *READERS[name])
        again = ("train", "--config", "run/config.toml", "--out", "run", "--overwrite")
        assert "got another that is reading it just now" in refused(shell, *again)
    with exclusive(Path("run")):
        assert "Expected run for one process at a time" in refused(shell, *READERS[name])


@pytest.mark.parametrize("name", WITH_DATA)
def test_data_that_moved_is_named(calibrated: Path, shell: Shell, name: str) -> None:
    """Where it is gone --data is suggested; the moved copy gives what the old place gave; other data is told apart."""
    if name in {"analyze", "report"}:
        shutil.rmtree(calibrated / "predictions")  # else no image is needed
    kept = done(shell, *READERS[name])
    if name in {"analyze", "report"}:
        shutil.rmtree(calibrated / "predictions")
    Path("images").rename("moved")
    assert "--data names the place it moved to" in refused(shell, *READERS[name])
    found = done(shell, *READERS[name], "--data", "moved")
    if name == "evaluate":
        assert json.loads(found)["exits"] == json.loads(kept)["exits"]
        assert (json.loads(found)["split"], json.loads(found)["samples"]) == ("test", 12)
        assert (json.loads(found)["dataset"], json.loads(found)["tune_dataset"]) == ("moved", "moved")
    else:
        message = "Expected others split as run was trained on it, got another split"
        assert message in refused(shell, *READERS[name], "--data", "others")


def test_a_moved_copy_may_be_split(made_run: Path, shell: Shell) -> None:
    """Of the run's own data any split is evaluated, wherever it is; other data is evaluated whole."""
    assert made_run.exists()
    Path("images").rename("moved")
    assert json.loads(done(shell, "evaluate", "run", "--data", "moved", "--split", "train"))["split"] == "train"
    Path("moved").rename("images")
    assert "Expected no --split beside --data" in refused(
        shell, "evaluate", "run", "--data", "others", "--split", "train"
    )


def test_a_run_is_read_from_any_directory(
    calibrated: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither data nor run depends on where training was started; nor does resuming."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done(shell, "evaluate", "../run")
    done(shell, "train", "--resume", "--out", "../run")
    done(shell, "train", "--resume", "--out", calibrated, "--data", "../images")
    (calibrated / "config.toml").write_text(
        (calibrated / "config.toml").read_text().replace(str(tmp_path / "images"), "images")
    )  # as older runs have it
    done(shell, "evaluate", "../run")
    done(shell, "train", "--resume", "--out", calibrated, "--data", "../images")


def test_a_project_may_be_renamed(made_run: Path, shell: Shell, tmp_path: Path) -> None:
    """Data that moved together with its run is found beside it."""
    (tmp_path / "project").mkdir()
    for name in ("run", "images"):
        Path(name).rename(f"project/{name}")
    record = json.loads(Path("project/run/data.json").read_text())
    assert record["path"] == "../images"
    done(shell, "evaluate", "project/run")
    assert not made_run.exists()


@pytest.mark.parametrize("name", ["evaluate", "analyze", "report"])
def test_with_out_elsewhere_nothing_is_written_to_the_run(made_run: Path, shell: Shell, name: str) -> None:
    """Predictions and statistics that the run lacks are made and not kept, so that it may be read-only."""
    before = state_of(made_run)
    done(shell, *READERS[name], "--out", "there")
    assert state_of(made_run) == before
    assert any(Path("there").iterdir())


def test_a_run_that_cannot_be_written_is_told_first(
    made_run: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before images are read, with the way out."""
    assert made_run.exists()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for name in ("evaluate", "analyze", "report"):
        assert "; --out names another directory" in refused(shell, *READERS[name])


def test_no_file_in_results_names_a_place_on_this_machine() -> None:
    """Runs hold absolute paths now; those that are committed must not."""
    root = Path(__file__).parents[2] / "results"
    for path in root.rglob("config.toml"):
        lines = [line for line in path.read_text().splitlines() if line.startswith(("data =", "init =", "weights ="))]
        assert lines, path
        assert not [line for line in lines if '= "/' in line], path


@pytest.mark.parametrize(
    "study",
    [
        ("audit", "backdoor", "--data", "images", "--model", "tiny_nets:plain", "--target", 0),
        ("audit", "backdoor", "--quick"),
        ("audit", "slowdown", "--quick"),
        ("audit", "suspects", "--quick"),
    ],
)
def test_two_studies_do_not_share_a_directory(shell: Shell, workplace: Path, study: tuple[object, ...]) -> None:
    """Their runs would be of several studies; the second is refused before it trains."""
    with exclusive(workplace / "study"):
        status, _, errors = shell(*study, "--out", "study")
        assert status == 2
        assert "Expected study for one process at a time, got another that is writing to it just now" in errors
    assert not (workplace / "study").exists()
