"""The data a RUN was trained on, split as then, and its network's predictions on a split."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import AnyPreprocessing
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.precision import INT8, SCALING_IMAGES, Judged, Precision
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.runs.data_record import check_data, check_record
from shallowdeep.runs.paths import data_is_there, located, shown
from shallowdeep.runs.preparation import check_classes
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits

JUDGED_IMAGES = 1024  # of ``tune``, that a quantised network is judged on
_JUDGED_BYTES = 2**28


def own_splits(
    run: Path,
    network: ShallowDeepNetwork,
    data: str | None = None,
    *,
    context: RunContext,
) -> DataSplits:
    """The data that a run was trained on, split as then.

    Args:
        run: a RUN.
        network: its own.
        data: where that data is now, such as a copy that was moved; None for where it was. For a network saved without
            settings, its data.
        context: progress, and what to do with bad images.

    Raises:
        ConfigurationError: the run's files are of several trainings, the data is not that of the run or no longer
            what it was, or nothing says where it is.
        DataError: it cannot be read.
    """
    check_record(run)
    if not (run / CONFIG).exists() and data is None:
        raise ConfigurationError(f"Expected --data, since {run} has no {CONFIG}")
    splits = read_splits(run, network, data, context=context)
    if (run / CONFIG).exists():
        check_data(run, splits.fingerprints, shown(data or read_config(run / CONFIG).data))
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
    config = located(read_config(path), run) if path.exists() else TrainConfig(data=str(data))
    if data is None and not data_is_there(config):
        raise ConfigurationError(
            f"Expected {shown(config.data)}, which {run} was trained on, seen from {Path.cwd()}, found no such "
            "directory; --data names the place it moved to"
        )
    size = 1 if network.preprocessing is not None else 0  # its own is taken
    splits = load_dataset(
        data or config.data, image_size=size, seed=config.seed, calibration_fraction=config.calibration_fraction,
        test_fraction=config.test_fraction, skip_bad_images=context.skip_bad_images or config.skip_bad_images,
        memory_budget=int(config.memory_budget * 2**30), preprocessing=network.preprocessing,
        text_column=config.text_column, progress=context.progress,
    )  # fmt: skip
    if network.classes:
        check_classes(network.classes, str(run), splits.classes, shown(data or config.data))
    return splits


def predict_split(
    network: ShallowDeepNetwork, part: ImageSplit, preprocessing: AnyPreprocessing, context: RunContext
) -> ExitPredictions:
    """Predictions of every exit on a split, one pass over it."""
    part.prepare()
    batches = Batches(part, preprocessing, context.batch_size)
    what = f"predicting {part.name}"
    return predict_exits(network, batches, progress=context.progress, what=what, samples=len(part))


def precision_on(splits: DataSplits, name: str) -> Precision:
    """A precision with what ``int8`` needs of a run's own data: training images for scales, ``tune`` to be judged on.

    What is written and what a promise was made for are quantised alike: by the run's own images, always the same.
    """
    return Precision(name, scaling_images(splits), judged_on(splits)) if name == INT8 else Precision(name)


def judged_on(splits: DataSplits) -> Judged:
    """Images of ``tune`` that a network at lower precision is judged on, evenly spaced: 1,024, or 256 MiB of them."""
    part = splits.tune.readable()
    most = min(JUDGED_IMAGES, _JUDGED_BYTES // (4 * prod(splits.preprocessing.shape)))
    places = np.unique(np.linspace(0, len(part) - 1, min(most, len(part))).astype(np.int64))
    pixels, labels = part.fetch(places)
    return Judged(splits.preprocessing.normalize(pixels).contiguous().numpy(), labels.numpy())


def scaling_images(splits: DataSplits) -> NDArray[np.float32]:
    """Training images without augmentation that int8 finds its scales by, (n, 3, S, S), normalised, evenly spaced."""
    train = splits.train.readable()
    places = np.unique(np.linspace(0, len(train) - 1, min(SCALING_IMAGES, len(train))).astype(np.int64))
    images, _ = train.fetch(places)
    ready: NDArray[np.float32] = splits.preprocessing.normalize(images).contiguous().numpy()
    return ready
