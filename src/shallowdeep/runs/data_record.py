"""What a RUN records of the data it was trained on, and whether its files and the data at hand agree with that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shallowdeep.artifacts import CONFIG, DATA, MODEL_MANIFEST
from shallowdeep.checkpoint import read_manifest
from shallowdeep.data.data_splits import Fingerprints
from shallowdeep.errors import ConfigurationError
from shallowdeep.files import write_json
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.runs.paths import from_run

_CUT_BY = ("seed", "calibration_fraction", "test_fraction")  # settings that the split follows from


def record_of(config: TrainConfig, data: Fingerprints) -> dict[str, Any]:
    """What the manifest of a run's weights records of its data."""
    return {"fingerprint": data.splits, **{name: getattr(config, name) for name in _CUT_BY}}


def write_data_record(directory: Path, config: TrainConfig, data: Fingerprints) -> None:
    """Write ``data.json`` to a RUN: fingerprints, and where the data is seen from the run."""
    path = from_run(config.data, directory)
    document = {"fingerprint": data.splits, "images": data.images, **({} if path is None else {"path": path})}
    write_json(directory / DATA, document)


def read_data_record(directory: Path) -> dict[str, Any]:
    """The record in a RUN's ``data.json``; empty where there is none.

    Raises:
        ConfigurationError: the file is damaged.
    """
    try:
        document = dict(json.loads((directory / DATA).read_text()))
        return {"fingerprint": document["fingerprint"], **document}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"Expected a record of the data in {directory / DATA}, got: {error}") from error


def check_record(directory: Path) -> None:
    """Refuse a run whose settings, record of the data and weights are not of one training.

    Args:
        directory: a RUN with weights; one whose manifest has no record of the data, as older ones, passes.

    Raises:
        ConfigurationError: naming the files that differ.
        CheckpointError: the manifest or the settings cannot be read.
    """
    trained_on = read_manifest(directory).data
    config = read_config(directory / CONFIG) if trained_on and (directory / CONFIG).exists() else None
    for name in () if config is None else _CUT_BY:
        if name in trained_on and trained_on[name] != getattr(config, name):
            got = f"{name.replace('_', ' ')} {getattr(config, name)!r} instead of {trained_on[name]!r}"
            raise _of_several(directory, CONFIG, got)
    record = read_data_record(directory)
    if trained_on and record and record["fingerprint"] != trained_on.get("fingerprint"):
        raise _of_several(directory, DATA, "another split of the data")


def is_own(directory: Path, data: Fingerprints) -> bool:
    """Whether data is what a run was trained on, split as then; False where the run has no record of it."""
    record, trained_on = read_data_record(directory), read_manifest(directory).data
    known = record.get("fingerprint", trained_on.get("fingerprint"))
    return bool(known == data.splits) and record.get("images") in (None, data.images)


def has_images(directory: Path, data: Fingerprints) -> bool:
    """Whether a run was trained on these images, wherever they are and however they are split; False for older runs."""
    return bool(read_data_record(directory).get("images") == data.images)


def recorded_fingerprints(directory: Path) -> tuple[str | None, str | None]:
    """The fingerprints of a run's split and images, as far as its record or manifest has them; None where not.

    Raises:
        ConfigurationError: the record is damaged.
        CheckpointError: the manifest is damaged.
    """
    trained_on = read_manifest(directory).data if (directory / MODEL_MANIFEST).exists() else {}
    record = read_data_record(directory)
    return record.get("fingerprint", trained_on.get("fingerprint")), record.get("images")


def check_data(directory: Path, data: Fingerprints, source: str) -> None:
    """Refuse data that is cut otherwise than the run's was: training images could be among those evaluated on.

    Args:
        directory: a RUN; one without a record of its data passes.
        data: of the data at hand.
        source: where they come from, for the message.

    Raises:
        ConfigurationError: images were added, removed, relabelled or replaced, or another seed or fraction was taken.
    """
    record = read_data_record(directory)
    trained_on = read_manifest(directory).data if (directory / MODEL_MANIFEST).exists() else {}
    for known in (record, trained_on):
        if known.get("fingerprint") not in (None, data.splits):
            raise ConfigurationError(
                f"Expected {source} split as {directory} was trained on it, got another split: images were added, "
                "removed or relabelled since, or seed or fractions differ, so training images would be among those "
                "evaluated on"
            )
    if record.get("images") not in (None, data.images):  # older runs have none
        raise ConfigurationError(
            f"Expected the images that {directory} was trained on in {source}, got others with the same labels, "
            "such as another copy of the dataset: figures of both do not go together"
        )


def _of_several(directory: Path, name: str, got: str) -> ConfigurationError:
    return ConfigurationError(
        f"Expected {name} of {directory} to be that of the training its {MODEL_MANIFEST} is of, got {got}; files of "
        "several runs do not go together"
    )
