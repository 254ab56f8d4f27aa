"""What is known of every epoch of a training, and the file that tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallowdeep.artifacts import HISTORY
from shallowdeep.documents import plain
from shallowdeep.errors import CheckpointError
from shallowdeep.files import replacing


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        phase: name of the phase that it belongs to.
        epoch: its number in the phase, from 1.
        loss: mean over its steps of what is minimised: the sum of the exits' losses by their weights.
        learning_rate: of its last step.
        tune_accuracy: of each exit on ``tune`` after it, as fractions; empty where nothing is held out.
        seconds: that it took.
        skipped_images: left out so far, since they could not be decoded.
        exit_losses: mean over its steps of each exit that the phase trains, without its weight, the first exit first;
            empty in records of version 0.1.0.
        exit_weights: of these losses in this epoch; they rise in ``joint`` and ``mixed``. Empty likewise.
        images: that it went over; 0 likewise.
    """

    phase: str
    epoch: int
    loss: float
    learning_rate: float
    tune_accuracy: tuple[float, ...]
    seconds: float
    skipped_images: int = 0
    exit_losses: tuple[float, ...] = ()
    exit_weights: tuple[float, ...] = ()
    images: int = 0

    @property
    def mean_loss(self) -> float:
        """Mean of the exits' losses by their weights, which can be compared between epochs whose weights differ."""
        return self.loss / (sum(self.exit_weights) or 1.0)

    def line(self, epochs: int) -> str:
        """What is said of it while training goes on: of the exits, the first and the last that it knows.

        Args:
            epochs: of the phase.
        """
        losses = f" (exits {_first_and_last(self.exit_losses, 3)})" if len(self.exit_losses) > 1 else ""
        percents = [100 * value for value in self.tune_accuracy]
        accuracies = f"  held-out accuracy {_first_and_last(percents, 1)} %" if percents else ""
        return (
            f"{self.phase} epoch {self.epoch}/{epochs}  loss {self.mean_loss:.3f}{losses}{accuracies}"
            f"  {self.seconds:.0f} s"
        )


def _first_and_last(values: Sequence[float], digits: int) -> str:
    ends = [values[0], values[-1]] if len(values) > 1 else values
    return " … ".join(f"{value:.{digits}f}" for value in ends)


History = tuple[EpochRecord, ...]
"""One record an epoch, in the order they were trained."""


def record_from(document: Mapping[str, Any]) -> EpochRecord:
    """The record that was saved as JSON.

    Raises:
        KeyError, TypeError: it lacks something, or is no record.
    """
    return EpochRecord(
        phase=document["phase"],
        epoch=document["epoch"],
        loss=document["loss"],
        learning_rate=document["learning_rate"],
        tune_accuracy=tuple(document["tune_accuracy"]),
        seconds=document["seconds"],
        skipped_images=document.get("skipped_images", 0),
        exit_losses=tuple(document.get("exit_losses", ())),
        exit_weights=tuple(document.get("exit_weights", ())),
        images=document.get("images", 0),
    )


def read_history(directory: Path) -> History:
    """The records in a RUN's history, one an epoch.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        return tuple(record_from(json.loads(line)) for line in (directory / HISTORY).read_text().splitlines())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"Expected a JSON record a line in {directory / HISTORY}, got: {error}") from error


def write_history(directory: Path, history: History) -> None:
    """Replace the history of a RUN.

    Raises:
        OutputError: the disk is full or cannot be written; the old history stays.
    """
    with replacing(directory / HISTORY) as temporary:
        temporary.write_text("".join(json.dumps(plain(record)) + "\n" for record in history))
