"""Event files hold what the history holds, and a training that goes on appends to them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.conftest import Shell, Training

from shallowdeep.training.event_files import EventFiles
from shallowdeep.training.history import EpochRecord, read_history

RECORD = EpochRecord(
    "joint", 1, 0.6, 0.05, (0.5, 0.75), 2.0, exit_losses=(1.2, 0.2), exit_weights=(0.2, 1.0), images=48
)
FOLDER = "tensorboard"


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every tag in a run's event files."""
    events = EventAccumulator(str(run / FOLDER))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_an_epoch_gives_each_of_its_figures(tmp_path: Path) -> None:
    """The mean loss, .6 / 1.2; each exit's loss and accuracy by its name; the learning rate; 48 images in 2 s."""
    with EventFiles(tmp_path, 0) as events:
        events.write(1, ["blocks.0", "final"], RECORD)
    found = scalars(tmp_path)
    assert {tag: pytest.approx(value) for tag, ((_, value),) in found.items()} == {
        "loss": 0.5, "exit_loss/blocks.0": 1.2, "exit_loss/final": 0.2, "tune_accuracy/blocks.0": 0.5,
        "tune_accuracy/final": 0.75, "learning_rate": 0.05, "images_per_second": 24.0,
    }  # fmt: skip


def test_epochs_that_are_trained_again_replace_what_was_written(tmp_path: Path) -> None:
    """After a kill between the event and the state of epoch 2, the epoch stands there once."""
    with EventFiles(tmp_path, 0) as events:
        events.write(1, ["blocks.0", "final"], RECORD)
        events.write(2, ["blocks.0", "final"], RECORD)
    with EventFiles(tmp_path, 1) as events:
        events.write(2, ["blocks.0", "final"], RECORD)
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2]


def test_a_training_writes_what_its_history_says(trained: Training) -> None:
    """Steps count epochs over both phases of `mixed`; the first phase has the final exit alone."""
    trained("run", "--recipe", "mixed", "--epochs", 2, "--exits", 2, "--tensorboard")
    history, found = read_history(Path("run")), scalars(Path("run"))
    first = sum(len(record.exit_losses) == 1 for record in history)
    assert 0 < first < len(history)
    assert [step for step, _ in found["loss"]] == list(range(1, len(history) + 1))
    assert [value for _, value in found["loss"]] == pytest.approx([record.mean_loss for record in history])
    assert [value for _, value in found["exit_loss/final"]] == pytest.approx([r.exit_losses[-1] for r in history])
    others = [tag for tag in found if tag.startswith("exit_loss/") and not tag.endswith("final")]
    assert len(others) == 2
    for tag in others:
        assert [step for step, _ in found[tag]] == list(range(first + 1, len(history) + 1))


def test_a_run_may_go_on_with_event_files(shell: Shell, workplace: Path) -> None:
    """The option changes no weight, may come with --resume, and the run's files go when it is overwritten."""
    (workplace / "poison").write_text("")
    network = ("--model", "tiny_nets:fragile", "--recipe", "joint", "--exits", 2)
    base = ("train", "--data", "images", *network, "--epochs", 2, "--batch-size", 16, "--out", "run")
    assert shell(*base)[0] == 2  # begun, and stopped at the first step
    (workplace / "poison").unlink()
    assert shell(*base, "--resume", "--tensorboard")[0] == 0
    assert [step for step, _ in scalars(Path("run"))["loss"]] == [1, 2]
    with_events = Path("run/model.safetensors").read_bytes()
    assert shell(*base, "--overwrite")[0] == 0
    assert not list(Path("run", FOLDER).iterdir())
    assert Path("run/model.safetensors").read_bytes() == with_events


def test_without_tensorboard_nothing_begins(shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the extra, and no directory is made."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    status, output, errors = shell(
        "train", "--data", "images", "--model", "tiny_nets:plain", "--out", "run", "--tensorboard"
    )
    assert (status, output) == (2, "")
    assert errors == (
        "shallowdeep: Expected tensorboard for --tensorboard, found it not installed; "
        "pip install 'shallowdeep[tensorboard]'\n"
    )
    assert not (workplace / "run").exists()
