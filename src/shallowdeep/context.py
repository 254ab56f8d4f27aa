"""How a command runs, apart from what it does: one object instead of five arguments (no torch)."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import SILENT, Progress


@dataclass(frozen=True)
class RunContext:
    """What every command needs besides its own settings.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch_size: images at a time.
        trust: import and run code that a manifest names.
        skip_bad_images: leave out images that cannot be decoded, instead of refusing the data.
        progress: told how far the work is.
        command: as it was typed, for the record.

    Raises:
        ConfigurationError: a batch size below 1.
    """

    device: str = "auto"
    batch_size: int = 250
    trust: bool = False
    skip_bad_images: bool = False
    progress: Progress = SILENT
    command: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigurationError(f"Expected a batch size of at least 1, got {self.batch_size}")
