"""The data a RUN was trained on, split as then, and its network's predictions on a split."""

from __future__ import annotations

from pathlib import Path

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.data.batches import Batches
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.runs.directory import check_data
from shallowdeep.runs.preparation import check_classes
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits


def own_splits(
    run: Path,
    network: ShallowDeepNetwork,
    data: str | None = None,
    *,
    context: RunContext,
) -> DataSplits:
    """The data that a run was trained on, split as then; for a network saved without settings, ``data``.

    Raises:
        ConfigurationError: neither, or the data is no longer what it was.
        DataError: it cannot be read.
    """
    if not (run / CONFIG).exists():
        if data is None:
            raise ConfigurationError(f"Expected --data, since {run} has no {CONFIG}")
        return read_splits(run, network, data, context=context)
    splits = read_splits(run, network, None, context=context)
    check_data(run, splits.fingerprints, read_config(run / CONFIG).data)
    return splits


def read_splits(
    run: Path,
    network: ShallowDeepNetwork,
    data: str | None,
    *,
    context: RunContext,
) -> DataSplits:
    """A run's own data, or other data with the same classes, as the run's network wants its images."""
    path = run / CONFIG
    config = read_config(path) if path.exists() else TrainConfig(data=str(data))
    size = network.preprocessing.size if network.preprocessing is not None else 0
    try:
        splits = load_dataset(
            data or config.data, image_size=size, seed=config.seed, calibration_fraction=config.calibration_fraction,
            test_fraction=config.test_fraction, skip_bad_images=context.skip_bad_images or config.skip_bad_images,
            memory_budget=int(config.memory_budget * 2**30), preprocessing=network.preprocessing,
            progress=context.progress,
        )  # fmt: skip
    except UnknownNameError as error:
        if data is not None:
            raise
        raise ConfigurationError(
            f"Expected {config.data}, which {run} was trained on, seen from {Path.cwd()}, found no such directory; its "
            "path is the one that training was given"
        ) from error
    if network.classes:
        check_classes(network.classes, str(run), splits.classes, data or config.data)
    return splits


def predict_split(
    network: ShallowDeepNetwork, part: ImageSplit, preprocessing: Preprocessing, context: RunContext
) -> ExitPredictions:
    """Predictions of every exit on a split, one pass over it."""
    part.prepare()
    batches = Batches(part, preprocessing, context.batch_size)
    what = f"predicting {part.name}"
    return predict_exits(network, batches, progress=context.progress, what=what, samples=len(part))
