"""What is known of every epoch, as it is said and as it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from shallowdeep.errors import CheckpointError
from shallowdeep.training.history import EpochRecord, read_history, write_history

FIRST = EpochRecord("backbone", 1, 0.51234, 0.1, (), 2.6)
SECOND = EpochRecord(
    "joint", 1, 0.6, 0.05, (0.5, 0.75, 0.875), 3.0, skipped_images=2,
    exit_losses=(1.2, 0.8, 0.2), exit_weights=(0.2, 0.2, 1.0), images=48,
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """One line an epoch, with the fields' names as keys."""
    write_history(tmp_path, (FIRST, SECOND))
    assert read_history(tmp_path) == (FIRST, SECOND)
    assert (tmp_path / "history.jsonl").read_text().splitlines()[1] == (
        '{"phase": "joint", "epoch": 1, "loss": 0.6, "learning_rate": 0.05, "tune_accuracy": [0.5, 0.75, 0.875], '
        '"seconds": 3.0, "skipped_images": 2, "exit_losses": [1.2, 0.8, 0.2], "exit_weights": [0.2, 0.2, 1.0], '
        '"images": 48}'
    )


def test_records_of_before_exits_had_their_losses_are_read(tmp_path: Path) -> None:
    """Nothing is known of them, nor of the images; the loss is told as it stands."""
    line = '{"phase": "joint", "epoch": 1, "loss": 0.25, "learning_rate": 0.05, "tune_accuracy": [], "seconds": 3}\n'
    (tmp_path / "history.jsonl").write_text(line)
    (record,) = read_history(tmp_path)
    assert record == EpochRecord("joint", 1, 0.25, 0.05, (), 3)
    assert record.mean_loss == 0.25
    assert record.line(2) == "joint epoch 1/2  loss 0.250  3 s"


@pytest.mark.parametrize("text", ["{", "3\n", "[1]\n", '{"phase": "joint"}\n'])
def test_a_damaged_history_is_told(tmp_path: Path, text: str) -> None:
    """Half a line, and JSON that is no record."""
    (tmp_path / "history.jsonl").write_text(text)
    with pytest.raises(CheckpointError, match=r"Expected a JSON record a line in .*history\.jsonl, got"):
        read_history(tmp_path)


def test_no_history_is_told(tmp_path: Path) -> None:
    """A directory without one is no trained run."""
    with pytest.raises(CheckpointError, match="Expected a JSON record a line"):
        read_history(tmp_path)


def test_an_epoch_is_told_in_one_line() -> None:
    """The loss is a mean over exits, .6 / 1.4; losses and accuracies of exits stand there where there are any."""
    assert FIRST.line(6) == "backbone epoch 1/6  loss 0.512  3 s"
    assert SECOND.line(12) == (
        "joint epoch 1/12  loss 0.429 (exits 1.200 … 0.200)  held-out accuracy 50.0 … 87.5 %  3 s"
    )
    alone = EpochRecord("backbone", 2, 0.5, 0.1, (0.5,), 1.0, exit_losses=(0.5,), exit_weights=(1.0,))
    assert alone.line(6) == "backbone epoch 2/6  loss 0.500  held-out accuracy 50.0 %  1 s"
