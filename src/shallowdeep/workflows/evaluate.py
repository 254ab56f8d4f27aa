"""From a saved RUN to its evaluation, predictions and picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shallowdeep.analysis.evaluation import Evaluation, evaluation
from shallowdeep.artifacts import ACCURACY_PICTURE, CONFIG, METRICS, PREDICTIONS
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import reading, require_writable, write_json
from shallowdeep.report.figures import accuracy_cost_figure, save_figure
from shallowdeep.runs.data_record import is_own
from shallowdeep.runs.lazy_splits import UNREADABLE
from shallowdeep.runs.skipped_images import each_once, skipped_names, write_skipped
from shallowdeep.runs.splits import own_splits, predict_split, read_splits
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork

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

    Args:
        run: a RUN.
        data: other data with the same classes; or where the run's own has moved to, which its fingerprints tell.
        split: ``test``, ``tune`` or ``train``, of the run's own data.
        out: directory for the files.
        context: how it is run.

    Raises:
        ShallowDeepError: the run cannot be read, or the data does not fit it.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"Expected a split among {', '.join(SPLITS)}, got {split!r}")
    with reading(run):
        return _evaluated(run, data, split, out, context)


def _evaluated(
    run: Path, data: str | None, split: str, out: Path | None, context: RunContext
) -> tuple[Evaluation, list[Path]]:
    """What `evaluate_run` returns of a run that nobody writes to."""
    network = load(run, trust=context.trust)
    given = None if data is None else read_splits(run, network, data, context=context)
    other = None if given is None or is_own(run, given.fingerprints) else given
    if other is not None and split != "test":
        raise ConfigurationError(
            f"Expected no --split beside --data of other images, which are evaluated whole, got {split!r}"
        )
    target = out if out is not None else (run if other is None else None)
    if target is not None:
        require_writable(target)
    place = data if other is None or not (run / CONFIG).exists() else None
    own: DataSplits | None
    if other is None:
        shown_data = own = own_splits(run, network, place, context=context)
        part = own.split(split)
    else:
        shown_data, part = other, other.all_images
        own = _own_beside(run, network, place, context)
    network.to(pick_device(context.device))
    tune = None if own is None else predict_split(network, own.tune, own.preprocessing, context)
    if own is None or tune is None or part is not own.tune:
        shown = predict_split(network, part, shown_data.preprocessing, context)
    else:
        shown = tune
    found = evaluation(
        shown_data.name,
        split if other is None else part.name,
        shown,
        tune=tune,
        names=[exit_.name for exit_ in network.exits],
        backbone_macs=network.backbone_macs,
        parameters=sum(p.numel() for p in network.parameters()),
        backbone_parameters=sum(p.numel() for p in network.backbone.parameters()),
    )
    skipped = skipped_names(*([] if own is None else [own.tune]), part)
    found = replace(
        found,
        tune_dataset=None if own is None else own.name,
        certify_samples=None if own is None else len(own.certify),
        skipped_images=len(each_once(skipped)),
        skipped_files=each_once(skipped),
    )
    if target is None:
        return found, []
    predictions = {part.name: shown} if tune is None else {"tune": tune, part.name: shown}
    written = _write(target, found, predictions, network.weights)
    return found, [*write_skipped(target, skipped), *written]


def _own_beside(run: Path, network: ShallowDeepNetwork, place: str | None, context: RunContext) -> DataSplits | None:
    """The run's own data beside other data; None where it cannot be had: then nothing is chosen on ``tune``."""
    try:
        return own_splits(run, network, place, context=context)
    except UNREADABLE as error:
        context.progress.say(f"No thresholds, which are chosen on the run's own data: {error}")
        return None


def _write(directory: Path, found: Evaluation, predictions: Mapping[str, ExitPredictions], weights: str) -> list[Path]:
    written = []
    for name, pred in predictions.items():
        written.append(directory / PREDICTIONS / f"{name}.npz")
        pred.of(weights).save(written[-1])
    write_json(directory / METRICS, plain(found))
    save_figure(accuracy_cost_figure(found), directory / ACCURACY_PICTURE)
    return [*written, directory / METRICS, directory / ACCURACY_PICTURE]
