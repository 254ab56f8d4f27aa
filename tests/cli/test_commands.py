"""Commands that go well: one JSON document or a table on standard output, notes on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

import shallowdeep
from shallowdeep.analysis.accuracy import ExitFigures
from shallowdeep.analysis.evaluation import Evaluation
from shallowdeep.cli import demo
from shallowdeep.exits.predictions import ExitPredictions

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

JOINT = ("--recipe", "joint", "--exits", 2, "--epochs", 2)


def document(shell: Shell, *arguments: object) -> dict[str, Any]:
    """The one JSON document a command prints."""
    status, output, errors = shell(*arguments, "--json")
    assert status == 0, errors
    assert "Warning" not in errors
    found: dict[str, Any] = json.loads(output)
    return found


def same_weights(one: str, other: str) -> bool:
    """Whether two runs saved the same bits."""
    a, b = (load_file(Path(directory) / "model.safetensors") for directory in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_train_tells_what_it_made(trained: Training, shell: Shell) -> None:
    """The document has the run, its exits with costs and accuracies on `tune`; the history has a line an epoch."""
    found = trained("run", *JOINT)
    assert (found["out"], found["dataset"], found["model"]) == ("run", "images", "tiny_nets:plain")
    assert (found["recipe"], found["epochs"], found["skipped_images"]) == ("joint", 2, 0)
    assert [set(exit_) for exit_ in found["exits"]] == [{"name", "relative_cost", "tune_accuracy"}] * 3
    assert (
        found["exits"][0]["relative_cost"] < found["exits"][1]["relative_cost"] < 1 < found["exits"][2]["relative_cost"]
    )
    lines = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [("joint", 1), ("joint", 2)]
    assert all(len(line["tune_accuracy"]) == 3 and line["loss"] > 0 for line in lines)
    status, output, errors = shell("evaluate", "run", "--trust")
    assert status == 0
    assert "final" in output
    assert "Written: run/metrics.json" in errors


def test_evaluate_has_the_keys_it_promises(trained: Training, shell: Shell) -> None:
    """The document has the contract's keys, and predictions, metrics and a picture are written."""
    trained("run", *JOINT)
    found = document(shell, "evaluate", "run", "--trust")
    assert (found["dataset"], found["split"], found["samples"]) == ("images", "test", 12)
    assert [exit_["name"] for exit_ in found["exits"]][-1] == "final"
    assert all({"name", "relative_cost", "accuracy"} <= set(exit_) for exit_ in found["exits"])
    assert found["backbone_macs"] == shallowdeep.load("run", trust=True).backbone_macs
    assert found["parameters"] == sum(p.numel() for p in shallowdeep.load("run", trust=True).parameters())
    assert json.loads(Path("run/metrics.json").read_text()) == found
    assert Path("run/accuracy-cost.png").read_bytes()[:4] == b"\x89PNG"
    predictions = ExitPredictions.load(Path("run/predictions/test.npz"))
    assert predictions.logits.shape == (3, 12, 3)
    right = (predictions.logits.argmax(-1) == predictions.labels).mean(axis=1)
    assert [exit_["accuracy"] for exit_ in found["exits"]] == pytest.approx(right.tolist())
    some = (predictions.logits.argmax(-1) == predictions.labels).any(axis=0).mean()
    assert found["cumulative_accuracy"] == pytest.approx(some)


def test_other_data_leaves_the_runs_files_alone(trained: Training, shell: Shell) -> None:
    """`evaluate --data` writes nothing unless --out says where."""
    trained("run", *JOINT)
    before = sorted(Path("run").rglob("*"))
    found = document(shell, "evaluate", "run", "--trust", "--data", "others")
    assert (found["dataset"], found["split"], found["samples"]) == ("others", "all", 30)
    assert found["tune_dataset"] == "images"
    assert sorted(Path("run").rglob("*")) == before
    document(shell, "evaluate", "run", "--trust", "--data", "others", "--out", "evaluated")
    assert Path("evaluated/predictions/all.npz").exists()
    assert Path("evaluated/metrics.json").exists()


def test_settings_in_a_file_and_on_the_line_give_the_same_weights(trained: Training, shell: Shell) -> None:
    """A run's own config.toml reproduces it; an option on the line wins over the file."""
    trained("flags", *JOINT, "--seed", 3)
    found = document(shell, "train", "--config", "flags/config.toml", "--trust", "--out", "file")
    assert found["epochs"] == 2
    assert same_weights("flags", "file")
    found = document(shell, "train", "--config", "flags/config.toml", "--trust", "--out", "line", "--epochs", 1)
    assert found["epochs"] == 1


def test_a_finished_run_is_left_as_it_is(trained: Training, shell: Shell) -> None:
    """Resuming what is finished says so, trains nothing, and prints the same document."""
    first = trained("run", *JOINT)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("run").iterdir()}
    status, output, errors = shell("train", "--out", "run", "--resume", "--trust", "--json")
    assert status == 0
    assert errors == "run was trained to the end before: nothing to do\n"
    assert json.loads(output) == first
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("run").iterdir()} == before
    assert trained("run", *JOINT, "--resume") == first


def test_overwriting_renews_everything(trained: Training, shell: Shell) -> None:
    """Results of an older run do not stand beside the new network; files of the user's own do."""
    trained("run", *JOINT)
    document(shell, "evaluate", "run", "--trust")
    Path("run/notes.txt").write_text("mine")
    trained("run", *JOINT, "--overwrite", "--seed", 1)
    assert sorted(path.name for path in Path("run").iterdir() if path.is_file()) == [
        "config.toml", "data.json", "history.jsonl", "model.json", "model.safetensors", "notes.txt",
    ]  # fmt: skip
    assert not list(Path("run/predictions").iterdir())


def test_half_precision_and_streaming_runs_work(trained: Training, shell: Shell) -> None:
    """Weights in fp16 and images that stream from disk train and evaluate; streaming changes no bit."""
    trained("resident", *JOINT, "--weights-dtype", "fp16")
    trained("streamed", *JOINT, "--weights-dtype", "fp16", "--memory-budget", 0)
    assert same_weights("resident", "streamed")
    assert document(shell, "evaluate", "streamed", "--trust")["samples"] == 12


def test_workers_change_no_weight(trained: Training) -> None:
    """However many processes decode what streams, training gives the same bits; so do cached features."""
    heads = ("--recipe", "ic-only", "--train-backbone", "--exits", 2, "--epochs", 1)
    for recipe, name in ((JOINT, "joint"), (heads, "heads")):
        for workers in (0, 1, 2):
            trained(f"{name}{workers}", *recipe, "--memory-budget", 0, "--workers", workers)
        assert same_weights(f"{name}0", f"{name}1")
        assert same_weights(f"{name}0", f"{name}2")


def test_a_run_is_resumed_with_other_workers(trained: Training) -> None:
    """Unlike other settings, their number changes no weight."""
    first = trained("run", *JOINT)
    assert trained("run", *JOINT, "--resume", "--workers", 0) == first


def test_models_and_datasets_are_listed(shell: Shell) -> None:
    """Both lists come as a table and as one document."""
    models = document(shell, "models")["models"]
    assert {"vgg16", "resnet56", "wideresnet32_4", "mobilenet", "resnet20"} <= {row["name"] for row in models}
    assert next(row["parameters"] for row in models if row["name"] == "resnet56") == 855_770
    datasets = document(shell, "datasets")["datasets"]
    assert datasets[0]["name"] == "mnist5k"
    assert "resnet56" in shell("models")[1]
    assert "cifar10" in shell("datasets")[1]


def test_help_and_version(shell: Shell) -> None:
    """Nothing asked shows the help; the version is the package's."""
    status, output, errors = shell()
    assert (status, errors) == (0, "")
    assert "Usage: shallowdeep" in output
    assert shell("--version") == (0, f"shallowdeep {shallowdeep.__version__}\n", "")


def test_the_demo_tells_its_story(shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an epoch each, the demo tells all its steps and what to try next; a second time it renews it all."""
    assert workplace.is_dir()
    monkeypatch.setattr(demo, "LOSS", 0.5)  # what so few images can promise
    monkeypatch.setattr(demo, "ROUNDS", 3)
    monkeypatch.setattr(demo, "BACKBONE_EPOCHS", 1)
    monkeypatch.setattr(demo, "IC_EPOCHS", 1)
    monkeypatch.setattr(demo, "MODEL", "fastnet")
    monkeypatch.setattr(demo, "DATA", "images")
    assert shell("demo", "--out", "story")[0] == 0
    status, output, errors = shell("demo", "--out", "story", "--json")
    assert status == 0
    assert len(json.loads(output)["exits"]) >= 2
    assert "Picture: story/ic-only/accuracy-cost.png" in errors
    assert "shallowdeep train --data FOLDER" in errors
    assert "The promise: With 95 % confidence" in errors
    assert "times the speed" in errors
    assert not [line for line in errors.splitlines() if "tune" in line and " (images)" not in line]  # no progress
    assert Path("story/ic-only/metrics.json").exists()
    assert Path("story/bundle/manifest.json").exists()
    assert "at most 50 points less accurate" in Path("story/ic-only/report.html").read_text()


@pytest.mark.parametrize(("accuracies", "told"), [
    ([0.5, 0.9, 0.905], "Exit 1 is within one point of the final classifier at 60 % of the network's cost"),
    ([0.5, 0.6, 0.905], "No exit before the final classifier is within one point of it"),
])  # fmt: skip
def test_the_demo_says_which_exit_is_enough(accuracies: list[float], told: str) -> None:
    """The first within a point, or that there is none."""
    costs = (0.2, 0.6, 1.0)
    exits = tuple(ExitFigures("e", c, a, a) for c, a in zip(costs, accuracies, strict=True))
    found = Evaluation("d", "test", 9, 2, exits, 0.95, 1, 2, 1, None, ())
    assert demo._judged(found).startswith(
        f"{told}; some exit is right for 95.0 % of the digits, the final one for 90.5"
    )


def test_a_demo_that_is_stopped_says_what_is_left(
    shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it with the status of an interruption, where its files are, and that it begins anew."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_train", stopped)
    status, output, errors = shell("demo", "--out", workplace / "story")
    assert (status, output) == (130, "")
    assert "The demo was stopped; what it made so far is in" in errors
    assert errors.endswith("shallowdeep: interrupted\n")


def test_the_demo_keeps_strangers_files(shell: Shell, workplace: Path) -> None:
    """A directory that no run made is refused."""
    (workplace / "story" / "backbone").mkdir(parents=True)
    (workplace / "story" / "backbone" / "thesis.txt").write_text("ten years of work")
    status, output, errors = shell("demo", "--out", "story")
    assert (status, output) == (2, "")
    assert "holds files but no config.toml" in errors
    assert (workplace / "story" / "backbone" / "thesis.txt").exists()


def test_evaluate_suggests_what_will_work(trained: Training, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget where certify is too small for a promise of one point, else the promise."""
    trained("run", "--recipe", "joint", "--exits", 2, "--epochs", 1)
    _, _, errors = shell("evaluate", "run", "--trust")
    assert errors.splitlines()[-1] == "Next: shallowdeep calibrate run --budget 0.5 --trust"
    monkeypatch.setattr("shallowdeep.calibration.promisable.samples_needed", lambda *_: 1)
    _, _, errors = shell("evaluate", "run", "--trust")
    assert errors.splitlines()[-1] == "Next: shallowdeep calibrate run --max-accuracy-loss 0.01 --trust"


def test_two_trainings_do_not_share_a_directory(trained: Training, shell: Shell, workplace: Path) -> None:
    """The second is refused while the first runs, whatever it asks for; a directory is free again after a kill."""
    (workplace / "delay").write_text("0.2")
    command = [sys.executable, "-m", "shallowdeep", "train", "--data", "images", "--model", "tiny_nets:hindered"]
    command += ["--recipe", "joint", "--exits", "2", "--epochs", "9", "--batch-size", "16", "--out", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        limit = time.monotonic() + 60
        while not Path("run/config.toml").exists() and time.monotonic() < limit:
            time.sleep(0.01)
        same = ("train", "--data", "images", "--model", "tiny_nets:hindered", "--recipe", "joint", "--out", "run")
        for option in ("--resume", "--overwrite"):
            others = ("--exits", 2, "--epochs", 9, "--batch-size", 16, option)
            status, _, errors = shell(*same, *others)
            assert status == 2
            assert "Expected run for one process at a time, got another that is writing to it just now" in errors
        first.kill()
    (workplace / "delay").unlink()
    assert shell(*same, "--exits", 2, "--epochs", 9, "--batch-size", 16, "--resume")[0] == 0
    trained("other", "--recipe", "joint", "--exits", 2, "--epochs", 1)
