"""The directory of a RUN: what stands in it, who may write to it, and what is cleared away."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import fields
from enum import Enum
from pathlib import Path

from torch import nn

from shallowdeep.artifacts import (
    ACCURACY_PICTURE,
    CACHES,
    CONFIG,
    DATA,
    EVENT_FILES,
    HISTORY,
    METRICS,
    MODEL_MANIFEST,
    MODEL_WEIGHTS,
    PLACEMENT,
    RESULTS,
    TRAINING_STATE,
)
from shallowdeep.data.data_splits import Fingerprints
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.files import abandoned, cannot_write
from shallowdeep.models.registry import is_trusted
from shallowdeep.runs.config import TrainConfig, read_config, write_config
from shallowdeep.runs.data_record import read_data_record, write_data_record
from shallowdeep.runs.init_arguments import init_arguments
from shallowdeep.runs.paths import PATHS, located, same_place

_OWN = (*RESULTS, DATA, MODEL_MANIFEST, MODEL_WEIGHTS, HISTORY, TRAINING_STATE, CACHES, EVENT_FILES, PLACEMENT)
_FREE = ("workers", "tensorboard")  # settings that a run may be resumed with others of
_SAFETENSORS_LEAVES = ".tmp??????"  # where its writer was killed
STATES_OF_ROOM = 8  # times the weights: two states with momenta while one replaces the other, and the result


class Standing(Enum):
    """How a directory stands to the run that is to be trained there."""

    FRESH = "to be started"
    UNFINISHED = "started before, to go on"
    FINISHED = "trained to the end before"


def claim(directory: Path, config: TrainConfig, *, resume: bool, overwrite: bool) -> Standing:
    """How ``directory`` stands to a run of ``config``; changes nothing.

    Raises:
        OutputError: it holds something, and neither ``resume`` nor ``overwrite`` may touch it.
        ConfigurationError: the run to be resumed has other settings, or the run to be overwritten is read by this one.
    """
    if resume and overwrite:
        raise ConfigurationError("Expected --resume or --overwrite, got both")
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"Expected a directory for the run, {directory} is a file")
    if resume and (directory / CONFIG).exists():
        finished = (directory / MODEL_MANIFEST).exists() and not (directory / TRAINING_STATE).exists()
        _check_same(directory, config, finished=finished)
        return Standing.FINISHED if finished else Standing.UNFINISHED
    leftovers = abandoned(directory / CONFIG)  # of a run killed at its very first write
    if not directory.is_dir() or all(path in leftovers for path in directory.iterdir()):
        return Standing.FRESH
    if not (directory / CONFIG).exists():
        raise OutputError(
            f"Expected a new directory for the run, {directory} holds files but no {CONFIG}, so it is no run"
        )
    if not overwrite:
        raise OutputError(
            f"Expected a new directory for the run, {directory} exists; --resume goes on with it, "
            "--overwrite replaces it"
        )
    for name in ("init", "weights"):
        source = getattr(config, name)
        if source and Path(source).resolve().is_relative_to(directory.resolve()):
            raise ConfigurationError(f"Expected --{name} outside the run to be overwritten, got {source}")
    return Standing.FRESH


def _check_same(directory: Path, config: TrainConfig, *, finished: bool) -> None:
    """Refuse settings that are not those of the run to be resumed.

    Raises:
        ConfigurationError: naming the first that differs.
    """
    saved = read_config(directory / CONFIG)
    found = located(saved, directory)
    for field in fields(TrainConfig):
        before, now = getattr(saved, field.name), getattr(config, field.name)
        if before == now or field.name in _FREE:
            continue
        if field.name in PATHS and same_place(field.name, getattr(found, field.name), now):
            continue
        if field.name == "data" and not finished and "images" in read_data_record(directory):
            continue  # it may have moved: its fingerprints tell
        if field.name == "epochs":
            raise ConfigurationError(_other_epochs(directory, saved, now, finished=finished))
        raise ConfigurationError(
            f"Expected the settings of {directory / CONFIG} to resume, got {field.name} {now!r} instead of {before!r}"
        )


def _other_epochs(directory: Path, saved: TrainConfig, wanted: int, *, finished: bool) -> str:
    """What an error says of other epochs: learning rates are laid out for those that a run began with."""
    begun = f"{saved.epochs} epochs" if saved.epochs else "the preset's epochs"
    got = wanted or "the preset's"
    if not finished:
        return (
            f"Expected the epochs that {directory} was begun with ({begun}), for which its learning rates are laid "
            f"out, got {got}; --resume without --epochs goes on, --overwrite begins anew"
        )
    arguments = init_arguments(directory, located(saved, directory), saved.recipe)
    command = ["shallowdeep", "train", *arguments, "--epochs", str(wanted or "N"), "--out", "NEW"]
    if not is_trusted(saved.model):
        command.append("--trust")
    return (
        f"Expected a run to resume, got {got} epochs for {directory}, which was trained to the end of its schedule "
        f"({begun}); `{shlex.join(command)}` goes on from its backbone"
    )


def begin(directory: Path, config: TrainConfig, data: Fingerprints) -> None:
    """Make the directory a run of ``config`` with nothing trained; of an older run only its own files go.

    Args:
        directory: the RUN.
        config: its settings.
        data: of its data; kept, so that a later command notices other splits or images.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in [path for pattern in _OWN for path in directory.glob(pattern)]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error
    tidy(directory)
    write_data_record(directory, config, data)
    write_config(config, directory)


def discard(directory: Path) -> None:
    """Delete a run's own files, so that nothing of it is taken for what is to come; others stay.

    Raises:
        OutputError: one cannot be deleted.
    """
    try:
        for path in [path for pattern in (*_OWN, CONFIG) for path in directory.glob(pattern)]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error


def tidy(directory: Path) -> None:
    """Delete what a killed process left half written."""
    names = (CONFIG, DATA, MODEL_MANIFEST, MODEL_WEIGHTS, HISTORY, TRAINING_STATE, METRICS, ACCURACY_PICTURE)
    for path in [
        *directory.glob(_SAFETENSORS_LEAVES),
        *(path for name in names for path in abandoned(directory / name)),
    ]:
        path.unlink(missing_ok=True)


def require_space(directory: Path, network: nn.Module) -> None:
    """Refuse before the first step a disk that cannot hold the states of the run and its result.

    Raises:
        OutputError: naming the room needed and the room there is.
    """
    weights = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    needed = STATES_OF_ROOM * weights
    existing = next(folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"Expected {needed / 2**20:.1f} MiB of free space for {directory}, got {free / 2**20:.1f} MiB: "
            "no space left on the disk"
        )
