"""From a saved RUN to its evaluation, predictions and picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shallowdeep.analysis.evaluation import Evaluation, evaluation
from shallowdeep.artifacts import ACCURACY_PICTURE, METRICS, PREDICTIONS
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json
from shallowdeep.report.figures import accuracy_cost_figure, save_figure
from shallowdeep.runs.splits import own_splits, predict_split, read_splits
from shallowdeep.runtime import pick_device

SPLITS = ("test", "tune", "train")  # certify is read by guarantees alone


def evaluate_run(
    run: Path,
    *,
    data: str | None = None,
    split: str = "test",
    out: Path | None = None,
    context: RunContext,
) -> tuple[Evaluation, list[Path]]:
    """What ``evaluate`` finds for a run, and the files written.

    Thresholds are chosen on the run's own ``tune`` and shown on ``split``, or on other data: its test part where it has
    one, else all its images. Files (predictions, metrics, picture) go to the run, or to ``out``; other data leaves the
    run's files alone.

    Raises:
        ShallowDeepError: the run cannot be read, or the data does not fit it.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"Expected a split among {', '.join(SPLITS)}, got {split!r}")
    if data is not None and split != "test":
        raise ConfigurationError(f"Expected no --split beside --data, which is evaluated whole, got {split!r}")
    network = load(run, trust=context.trust)
    own = own_splits(run, network, data, context=context)
    shown_data = own if data is None else read_splits(run, network, data, context=context)
    part = own.split(split) if data is None else shown_data.all_images
    network.to(pick_device(context.device))
    tune = predict_split(network, own.tune, own.preprocessing, context)
    shown = tune if part is own.tune else predict_split(network, part, own.preprocessing, context)
    found = evaluation(
        shown_data.name,
        split if data is None else part.name,
        shown,
        tune=tune,
        names=[exit_.name for exit_ in network.exits],
        backbone_macs=network.backbone_macs,
        parameters=sum(p.numel() for p in network.parameters()),
        backbone_parameters=sum(p.numel() for p in network.backbone.parameters()),
    )
    found = replace(
        found,
        tune_dataset=own.name,
        certify_samples=len(own.certify),
        skipped_images=len({*own.tune.skipped, *part.skipped}),
    )
    directory = out if out is not None else (run if data is None else None)
    if directory is None:
        return found, []
    return found, _write(directory, found, {"tune": tune, part.name: shown}, network.weights)


def _write(directory: Path, found: Evaluation, predictions: Mapping[str, ExitPredictions], weights: str) -> list[Path]:
    written = []
    for name, pred in predictions.items():
        written.append(directory / PREDICTIONS / f"{name}.npz")
        pred.of(weights).save(written[-1])
    write_json(directory / METRICS, plain(found))
    save_figure(accuracy_cost_figure(found), directory / ACCURACY_PICTURE)
    return [*written, directory / METRICS, directory / ACCURACY_PICTURE]
