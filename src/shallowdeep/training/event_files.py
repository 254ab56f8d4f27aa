"""A training's history as event files, which TensorBoard draws while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from shallowdeep.artifacts import TENSORBOARD
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.training.history import EpochRecord


def require_tensorboard() -> None:
    """Refuse to train with event files where nothing is installed that writes them.

    Raises:
        ConfigurationError: TensorBoard is not installed; says which extra brings it.
    """
    if find_spec("tensorboard") is None:
        raise ConfigurationError(
            "Expected tensorboard for --tensorboard, found it not installed; pip install 'shallowdeep[tensorboard]'"
        )


class EventFiles:
    """Writes each epoch's figures to a RUN's folder of event files; a context manager.

    Tags: ``loss`` (mean of the exits' by their weights), ``exit_loss/NAME``, ``tune_accuracy/NAME`` (fraction),
    ``learning_rate`` and ``images_per_second``. Steps are epochs over all phases, from 1.

    Args:
        directory: the RUN.
        epochs_done: by an earlier run that this one goes on from. Events of later epochs, written before it was
            killed, no longer count.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, directory: Path, epochs_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra, and slow to import

        folder = directory / TENSORBOARD
        try:
            self._writer: Any = SummaryWriter(str(folder), purge_step=epochs_done + 1)
        except OSError as error:
            raise OutputError(f"Expected to write event files to {folder}, got: {error}") from error

    def write(self, step: int, exits: Sequence[str], record: EpochRecord) -> None:
        """Write an epoch, and have it on the disk.

        Args:
            step: the epoch's number over all phases, from 1.
            exits: names of the exits of the phase's network.
            record: of the epoch.
        """
        scalars = {"loss": record.mean_loss, "learning_rate": record.learning_rate}
        scalars |= {f"exit_loss/{name}": loss for name, loss in zip(exits, record.exit_losses, strict=False)}
        scalars |= {f"tune_accuracy/{name}": value for name, value in zip(exits, record.tune_accuracy, strict=False)}
        if record.seconds > 0:
            scalars["images_per_second"] = record.images / record.seconds
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
