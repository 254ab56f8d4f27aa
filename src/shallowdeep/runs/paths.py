"""Where the data and weights are that a RUN's settings name: kept as absolute paths, found where they are now."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from shallowdeep.artifacts import DATA
from shallowdeep.data.sources.registry import DATASET_NAMES
from shallowdeep.models.registry import HF
from shallowdeep.runs.config import TrainConfig

PATHS = ("data", "init", "weights")
"""Settings that may be paths."""


def absolute(config: TrainConfig) -> TrainConfig:
    """``config`` with absolute paths where something is; names of datasets stay names, as `load_dataset` has it."""
    data, init, weights = (_absolute(name, getattr(config, name)) for name in PATHS)
    return replace(config, data=data, init=init, weights=weights, model=_absolute_model(config.model))


def _absolute_model(model: str) -> str:
    """The name of a model of `transformers` with the absolute path of its folder, where it is one."""
    folder = Path(model.removeprefix(HF)).expanduser()
    return f"{HF}{folder.resolve()}" if model.startswith(HF) and folder.is_dir() else model


def located(config: TrainConfig, run: Path) -> TrainConfig:
    """``config``, read from a RUN, with paths at which there is something now, as far as they are found.

    Older runs hold paths as they were typed: these are looked for from the working directory, then from the folders
    above the run. Data that moved together with the run, as in a project's folder, is found beside it.
    """
    data, init, weights = (_located(name, getattr(config, name), run) for name in PATHS)
    if not _exists("data", data):
        data = _moved_along(run) or data
    return replace(config, data=data, init=init, weights=weights)


def data_is_there(config: TrainConfig) -> bool:
    """Whether the data of settings from `located` is a name or exists."""
    return _exists("data", config.data)


def same_place(name: str, one: str, other: str) -> bool:
    """Whether two values of a setting of `PATHS` are one name, or two spellings of one path."""
    if one == other:
        return True
    return not any(_is_name(name, value) or not value for value in (one, other)) and _resolved(one) == _resolved(other)


def shown(path: str) -> str:
    """A path as errors tell it: from the working directory where it is below, else as it is."""
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_relative_to(Path.cwd()):
        return path
    return str(folder.relative_to(Path.cwd()))


def from_run(data: str, run: Path) -> str | None:
    """The path of data relative to a RUN; None for a name."""
    if not _exists("data", data) or _is_name("data", data):
        return None
    try:
        return os.path.relpath(_resolved(data), run.resolve())
    except ValueError:  # on another drive
        return None


def _absolute(name: str, value: str) -> str:
    return value if _is_name(name, value) or not _exists(name, value) else str(_resolved(value))


def _located(name: str, value: str, run: Path) -> str:
    if not value or _exists(name, value) or Path(value).is_absolute():
        return value
    return next((str(folder / value) for folder in run.resolve().parents if (folder / value).exists()), value)


def _moved_along(run: Path) -> str | None:
    """Data where its record says it is, seen from the run."""
    try:
        path = run.resolve() / json.loads((run / DATA).read_text())["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(path.resolve()) if path.exists() else None


def _exists(name: str, value: str) -> bool:
    return _is_name(name, value) or (bool(value) and Path(value).expanduser().exists())


def _is_name(name: str, value: str) -> bool:
    return name == "data" and value in DATASET_NAMES


def _resolved(value: str) -> Path:
    return Path(value).expanduser().resolve()
