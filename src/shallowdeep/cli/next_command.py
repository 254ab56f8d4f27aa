"""The command that a command tells to run next, as it can be pasted into a shell."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shallowdeep.artifacts import CONFIG

if TYPE_CHECKING:
    from shallowdeep.runs.config import TrainConfig

PLACEHOLDER = "DATA"
"""Stands for a place that nobody has named."""


def next_command(*arguments: object, trust: bool, data: str | None = None) -> str:
    """Return a command of this program, quoted for a shell.

    Args:
        arguments: the subcommand and what follows.
        trust: whether it needs ``--trust``; see `needs_trust`.
        data: for ``--data``, or None for none; see `moved_data`.
    """
    words = ["shallowdeep", *map(str, arguments), *(() if data is None else ("--data", data))]
    return shlex.join([*words, "--trust"] if trust else words)


def needs_trust(run: Path) -> bool:
    """Return whether commands need ``--trust`` for a saved network, whose manifest names a ``module:callable``.

    Raises:
        CheckpointError: it has no manifest that can be read.
    """
    from shallowdeep.checkpoint import read_manifest
    from shallowdeep.models.registry import is_trusted

    return not is_trusted(read_manifest(run).model.name)


def moved_data(run: Path, data: str | None, *, own: bool) -> str | None:
    """Return what commands need as ``--data`` to find a run's own data; None where they find it by themselves.

    Args:
        run: a RUN.
        data: what was named as ``--data``, or None.
        own: whether the run's own data was found, there or by itself.

    Returns:
        Where it was named, or ``DATA`` where nobody has named its place.
    """
    from shallowdeep.runs.config import read_config
    from shallowdeep.runs.paths import data_is_there, located

    if (run / CONFIG).exists() and data_is_there(located(read_config(run / CONFIG), run)):
        return None
    return data if own and data is not None else PLACEHOLDER


def run_settings(run: Path, place: str | None) -> TrainConfig:
    """Return a run's settings with its data where that is now; defaults for a network saved without settings.

    Args:
        run: a RUN.
        place: of `moved_data`.
    """
    from shallowdeep.runs.config import TrainConfig, read_config
    from shallowdeep.runs.paths import located

    if not (run / CONFIG).exists():
        return TrainConfig(data=place or PLACEHOLDER)
    config = located(read_config(run / CONFIG), run)
    return config if place is None else replace(config, data=place)
