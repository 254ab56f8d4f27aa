"""From a saved RUN to its evaluation, predictions and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shallowdeep.analysis.evaluation import evaluation
from shallowdeep.checkpoint import load
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.loading import Batches
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.experiment.config import CONFIG, TrainConfig, read_config
from shallowdeep.experiment.preparation import DataProgress
from shallowdeep.experiment.run_directory import METRICS, PICTURE, PREDICTIONS
from shallowdeep.files import write_json
from shallowdeep.report.figures import accuracy_cost_figure, save_figure
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.training.observer import Observer

SPLITS = ("test", "tune", "certify", "calibration")


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

    Thresholds are chosen on ``tune`` and shown on ``split``. Files go to the run (predictions, metrics, picture),
    or to ``out``; other data leaves the run's files alone.

    Raises:
        ShallowDeepError: the run cannot be read, or the data does not fit it.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"Expected a split among {', '.join(SPLITS)}, got {split!r}")
    if batch_size < 1:
        raise ConfigurationError(f"Expected a batch size of at least 1, got {batch_size}")
    network = load(run, trust=trust)
    splits = _splits(run, network, data, skip_bad_images, data_progress)
    network.to(pick_device(device))
    tune = _predictions(network, splits, "tune", batch_size, observer)
    shown = tune if split == "tune" else _predictions(network, splits, split, batch_size, observer)
    document = evaluation(
        splits.name,
        split,
        shown,
        tune=tune,
        names=[exit_.name for exit_ in network.exits],
        backbone_macs=network.backbone_macs,
        parameters=sum(p.numel() for p in network.parameters()),
        backbone_parameters=sum(p.numel() for p in network.backbone.parameters()),
    )
    document["skipped_images"] = len(splits.tune.skipped) + len(splits.split(split).skipped)
    directory = out if out is not None else (run if data is None else None)
    return document, [] if directory is None else _write(directory, document, {"tune": tune, split: shown})


def _splits(
    run: Path, network: ShallowDeepNetwork, data: str | None, skip_bad_images: bool, progress: DataProgress | None
) -> DataSplits:
    """The run's own data, cut as in training, or other data with the same classes."""
    path = run / CONFIG
    if data is None and not path.exists():
        raise ConfigurationError(f"Expected --data, since {run} has no {CONFIG}")
    config = read_config(path) if path.exists() else TrainConfig(data=str(data))
    size = network.preprocessing.size if network.preprocessing is not None else 0
    splits = load_dataset(
        data or config.data, image_size=size, seed=config.seed, calibration_fraction=config.calibration_fraction,
        test_fraction=config.test_fraction, skip_bad_images=skip_bad_images or config.skip_bad_images,
        memory_budget=int(config.memory_budget * 2**30), preprocessing=network.preprocessing, progress=progress,
    )  # fmt: skip
    if network.classes and splits.classes != network.classes:
        raise ConfigurationError(
            f"Expected the {len(network.classes)} classes of {run} ({', '.join(network.classes[:3])} ...), "
            f"got {len(splits.classes)} in {data or config.data} ({', '.join(splits.classes[:3])} ...)"
        )
    return splits


def _predictions(
    network: ShallowDeepNetwork, splits: DataSplits, name: str, batch_size: int, observer: Observer
) -> ExitPredictions:
    part = splits.split(name)
    part.prepare()
    batches = Batches(part, splits.preprocessing, batch_size)
    observer.started(f"predicting {name}", "images", len(part), 0)
    return predict_exits(network, batches, progress=observer.advanced)


def _write(directory: Path, document: dict[str, Any], predictions: dict[str, ExitPredictions]) -> list[Path]:
    written = []
    for name, pred in predictions.items():
        written.append(directory / PREDICTIONS / f"{name}.npz")
        pred.save(written[-1])
    write_json(directory / METRICS, document)
    save_figure(accuracy_cost_figure(document), directory / PICTURE)
    return [*written, directory / METRICS, directory / PICTURE]
