"""From a saved RUN to its evaluation, predictions and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shallowdeep.analysis.evaluation import evaluation
from shallowdeep.checkpoint import load
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.loading import Batches
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.experiment.config import CONFIG, TrainConfig, read_config
from shallowdeep.experiment.preparation import DataProgress, check_classes
from shallowdeep.experiment.run_directory import METRICS, PICTURE, PREDICTIONS, check_data
from shallowdeep.files import write_json
from shallowdeep.report.figures import accuracy_cost_figure, save_figure
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.training.observer import Observer

SPLITS = ("test", "tune", "train")  # certify is read by guarantees alone


def judge(
    run: Path,
    *,
    data: str | None = None,
    split: str = "test",
    out: Path | None = None,
    batch_size: int = 250,
    device: str = "auto",
    skip_bad_images: bool = False,
    trust: bool = False,
    observer: Observer,
    data_progress: DataProgress | None = None,
) -> tuple[dict[str, Any], list[Path]]:
    """The ``evaluate`` document of a run and the files written.

    Thresholds are chosen on the run's own ``tune`` and shown on ``split``, or on other data: its test part where it has
    one, else all its images. Files (predictions, metrics, picture) go to the run, or to ``out``; other data leaves the
    run's files alone.

    Raises:
        ShallowDeepError: the run cannot be read, or the data does not fit it.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"Expected a split among {', '.join(SPLITS)}, got {split!r}")
    if data is not None and split != "test":
        raise ConfigurationError(f"Expected no --split beside --data, which is judged whole, got {split!r}")
    if batch_size < 1:
        raise ConfigurationError(f"Expected a batch size of at least 1, got {batch_size}")
    network = load(run, trust=trust)
    own = _own_data(run, network, data, skip_bad_images=skip_bad_images, progress=data_progress)
    shown_data = (
        own if data is None else _read(run, network, data, skip_bad_images=skip_bad_images, progress=data_progress)
    )
    part = own.split(split) if data is None else shown_data.all_images
    network.to(pick_device(device))
    tune = _predictions(network, own.tune, own.preprocessing, batch_size, observer)
    shown = tune if part is own.tune else _predictions(network, part, own.preprocessing, batch_size, observer)
    document = evaluation(
        shown_data.name,
        split if data is None else part.name,
        shown,
        tune=tune,
        names=[exit_.name for exit_ in network.exits],
        backbone_macs=network.backbone_macs,
        parameters=sum(p.numel() for p in network.parameters()),
        backbone_parameters=sum(p.numel() for p in network.backbone.parameters()),
    )
    document["tune_dataset"] = own.name
    document["skipped_images"] = len({*own.tune.skipped, *part.skipped})
    directory = out if out is not None else (run if data is None else None)
    return document, [] if directory is None else _write(directory, document, {"tune": tune, part.name: shown})


def _own_data(
    run: Path, network: ShallowDeepNetwork, data: str | None, *, skip_bad_images: bool, progress: DataProgress | None
) -> DataSplits:
    """The data that the run was trained on, split as then; for a network saved without settings, ``data``."""
    if not (run / CONFIG).exists():
        if data is None:
            raise ConfigurationError(f"Expected --data, since {run} has no {CONFIG}")
        return _read(run, network, data, skip_bad_images=skip_bad_images, progress=progress)
    splits = _read(run, network, None, skip_bad_images=skip_bad_images, progress=progress)
    check_data(run, splits.fingerprint, read_config(run / CONFIG).data)
    return splits


def _read(
    run: Path, network: ShallowDeepNetwork, data: str | None, *, skip_bad_images: bool, progress: DataProgress | None
) -> DataSplits:
    path = run / CONFIG
    config = read_config(path) if path.exists() else TrainConfig(data=str(data))
    size = network.preprocessing.size if network.preprocessing is not None else 0
    splits = load_dataset(
        data or config.data, image_size=size, seed=config.seed, calibration_fraction=config.calibration_fraction,
        test_fraction=config.test_fraction, skip_bad_images=skip_bad_images or config.skip_bad_images,
        memory_budget=int(config.memory_budget * 2**30), preprocessing=network.preprocessing, progress=progress,
    )  # fmt: skip
    if network.classes:
        check_classes(network.classes, str(run), splits.classes, data or config.data)
    return splits


def _predictions(
    network: ShallowDeepNetwork, part: ImageSplit, preprocessing: Preprocessing, batch_size: int, observer: Observer
) -> ExitPredictions:
    part.prepare()
    observer.started(f"predicting {part.name}", "images", len(part), 0)
    return predict_exits(network, Batches(part, preprocessing, batch_size), progress=observer.advanced)


def _write(directory: Path, document: dict[str, Any], predictions: dict[str, ExitPredictions]) -> list[Path]:
    written = []
    for name, pred in predictions.items():
        written.append(directory / PREDICTIONS / f"{name}.npz")
        pred.save(written[-1])
    write_json(directory / METRICS, document)
    save_figure(accuracy_cost_figure(document), directory / PICTURE)
    return [*written, directory / METRICS, directory / PICTURE]
