"""What is known of every epoch, as it is said and as it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from shallowdeep.errors import CheckpointError
from shallowdeep.training.history import EpochRecord, read_history, write_history

FIRST = EpochRecord("backbone", 1, 0.51234, 0.1, (), 2.6)
SECOND = EpochRecord("joint", 1, 0.25, 0.05, (0.5, 0.875), 3.0, skipped_images=2)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """One line an epoch, with the fields' names as keys."""
    write_history(tmp_path, (FIRST, SECOND))
    assert read_history(tmp_path) == (FIRST, SECOND)
    assert (tmp_path / "history.jsonl").read_text().splitlines()[1] == (
        '{"phase": "joint", "epoch": 1, "loss": 0.25, "learning_rate": 0.05, "tune_accuracy": [0.5, 0.875], '
        '"seconds": 3.0, "skipped_images": 2}'
    )


def test_records_of_before_images_were_counted_are_read(tmp_path: Path) -> None:
    """None was left out, then."""
    line = '{"phase": "joint", "epoch": 1, "loss": 0.25, "learning_rate": 0.05, "tune_accuracy": [], "seconds": 3}\n'
    (tmp_path / "history.jsonl").write_text(line)
    assert read_history(tmp_path) == (EpochRecord("joint", 1, 0.25, 0.05, (), 3),)


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
    """Accuracies stand there where there are any."""
    assert FIRST.line() == "backbone epoch 1: loss 0.5123 (3 s)"
    assert SECOND.line() == "joint epoch 1: loss 0.2500, tune accuracy % 50.0 87.5 (3 s)"
