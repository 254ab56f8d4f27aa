"""From a saved RUN, or predictions of any origin, to what they show of overthinking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shallowdeep.analysis.analysis import Analysis
from shallowdeep.analysis.findings import findings_of
from shallowdeep.analysis.overthinking import RESAMPLES
from shallowdeep.analysis.recorded import Recorded
from shallowdeep.artifacts import ANALYSIS, CONFIG, POLICY, PREDICTIONS
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.errors import CheckpointError, ConfigurationError, DataError
from shallowdeep.exits.array_file import read_arrays
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import reading, require_writable, write_json
from shallowdeep.runs.config import read_config
from shallowdeep.runs.confusion_file import measured_statistics, read_statistics
from shallowdeep.runs.data_record import check_record
from shallowdeep.runs.lazy_splits import UNREADABLE, Images, LazySplits, images_of
from shallowdeep.runs.provenance import provenance
from shallowdeep.runs.skipped_images import Names, each_once, read_skipped
from shallowdeep.runs.splits import predict_split
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.workflows.evaluate import SPLITS

SEEN = "The network was trained on these images: it knows them better than others."


@dataclass(frozen=True)
class Analyzed:
    """What an analysis gave, and what a report shows beside it.

    Attributes:
        analysis: what was found.
        recorded: the predictions it is about.
        policy: the run's own, or None.
        network: on the CPU; None for a file.
        images: reads, when it is called, how to fetch the samples' images; None where there are none.
        skipped: names of the images that were left out, by split, as far as is known.
    """

    analysis: Analysis
    recorded: Recorded
    policy: Policy | None = None
    network: ShallowDeepNetwork | None = None
    images: Callable[[], Images | None] = lambda: None
    skipped: Mapping[str, Names] = field(default_factory=dict)


@dataclass(frozen=True)
class How:
    """How to analyze.

    Attributes:
        split: of a run, ``test``, ``tune`` or ``train``.
        resamples: for intervals; 0 for none.
        seed: of resampling.
    """

    split: str = "test"
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigurationError(f"Expected a split among {', '.join(SPLITS)}, got {self.split!r}")
        if self.resamples < 0:
            raise ConfigurationError(f"Expected at least 0 resamples, got {self.resamples}")


def analyze_any(
    source: Path,
    how: How,
    tune: Path | None = None,
    *,
    data: str | None = None,
    keep: bool = True,
    context: RunContext,
) -> tuple[Analyzed, list[Path]]:
    """Analyze a RUN or an npz file; see `analyze_run` and `analyze_file`.

    Raises:
        ConfigurationError: ``tune`` beside a run, which has its own, or ``data`` beside a file.
        ShallowDeepError: what is there cannot be read.
    """
    if not source.exists():
        raise ConfigurationError(f"Expected a run's directory or an npz file of predictions, {source} does not exist")
    if source.is_dir():
        if tune is not None:
            raise ConfigurationError(f"Expected no --tune beside a run, which has its own, got {tune}")
        return analyze_run(source, how, context, data=data, keep=keep)
    if data is not None:
        raise ConfigurationError(f"Expected no --data beside a file of predictions, got {data}")
    return analyze_file(source, how, tune, command=context.command), []


def analyze_file(path: Path, how: How, tune: Path | None = None, *, command: str = "") -> Analyzed:
    """Analyze predictions in an npz file, which may come from any program.

    docs/how-to/study-overthinking.md says what it holds.

    Args:
        path: the file.
        how: resampling.
        tune: a file of the same network on other, labelled samples, to fit on what is fitted.
        command: as it was typed, for the record.

    Raises:
        ShallowDeepError: a file cannot be read, or they do not go together.
    """
    if how.split != How.split:
        raise ConfigurationError(f"Expected no --split beside a file, got {how.split!r}")
    recorded = Recorded.load(path)
    fitted_on = None if tune is None else Recorded.load(tune)
    if fitted_on is not None and fitted_on.labels is None:
        raise DataError(f"Expected labels in {tune}, which is to be fitted on, got none")
    if fitted_on is not None and np.array_equal(fitted_on.logits, recorded.logits):
        raise DataError(
            f"Expected other samples in {tune} than in {path}: what is fitted on some is not evaluated on them"
        )
    found = findings_of(
        recorded,
        tune=None if fitted_on is None else fitted_on.predictions,
        resamples=how.resamples,
        seed=how.seed,
    )
    analysis = Analysis(
        source=str(path),
        dataset=None,
        split="file",
        findings=found,
        policy=None,
        promise=None,
        provenance=provenance(command, how.resamples),
    )
    images = recorded.images
    return Analyzed(
        analysis,
        recorded,
        images=lambda: None if images is None else lambda places: images[places],
    )


def analyze_run(
    run: Path, how: How, context: RunContext, *, data: str | None = None, keep: bool = True
) -> tuple[Analyzed, list[Path]]:
    """Analyze a run on one of its splits; fitted parts are fitted on ``tune``.

    Predictions and statistics of confusion that the run holds are taken; others are made and kept there.

    Args:
        run: a RUN.
        how: split and resampling.
        context: where to predict, progress, and what to do with bad images.
        data: where the run's data is now; None for where it was.
        keep: write what is made to the run; False leaves the run as it is, which may be read-only.

    Returns:
        What was found, and the files written.

    Raises:
        ShallowDeepError: the run or its data cannot be read, or is not of one training.
    """
    with reading(run):
        return _analyzed(run, how, context, data=data, keep=keep)


def _analyzed(run: Path, how: How, context: RunContext, *, data: str | None, keep: bool) -> tuple[Analyzed, list[Path]]:
    """What `analyze_run` returns of a run that nobody writes to."""
    manifest = read_manifest(run)
    check_record(run)
    if keep:
        require_writable(run)
    network = load(run, trust=context.trust).to(pick_device(context.device))
    weights = str(manifest.weights["sha256"])
    splits = LazySplits(run, network, context, data)
    if data is not None:
        splits.read()  # other data is refused, even where no image is needed
    written: list[Path] = []
    predictions: dict[str, ExitPredictions] = {}
    for name in dict.fromkeys((how.split, "tune")):
        pred = _stored(run, name, weights)
        if pred is None:
            own = splits.read()
            pred = predict_split(network, own.split(name), own.preprocessing, context).of(weights)
            if keep:
                written.append(run / PREDICTIONS / f"{name}.npz")
                pred.save(written[-1])
        predictions[name] = pred
    shown, tune = predictions[how.split], predictions["tune"]
    statistics, note = None, None
    if len(network.exits) > 1:
        statistics, note = _statistics(run, network, splits, keep=keep, weights=weights, context=context)
    recorded = Recorded(
        shown.logits, shown.costs, shown.labels, network.classes or (), tuple(exit_.name for exit_ in network.exits)
    )
    fitted_on = None if how.split == "tune" else tune  # what was fitted on samples is not evaluated on them
    found = findings_of(recorded, tune=fitted_on, statistics=statistics, resamples=how.resamples, seed=how.seed)
    policy = read_policy(run / POLICY, weights) if (run / POLICY).exists() else None
    config = read_config(run / CONFIG) if (run / CONFIG).exists() else None
    skipped = {**read_skipped(run, predictions), **splits.skipped()}
    seen = (SEEN,) if how.split == "train" else ()
    notes = (*found.notes, *((note,) if note else ()), *seen)
    analysis = Analysis(
        source=str(run),
        dataset=None if config is None else Path(config.data).expanduser().resolve().name,
        split=how.split,
        findings=replace(found, notes=notes, warnings=(*found.warnings, *seen)),
        policy=None if policy is None else _policy(policy),
        promise=None if policy is None else _promises(policy),
        provenance=provenance(context.command, how.resamples, None if config is None else config.seed, weights),
        skipped_files=each_once(skipped),
    )

    def images() -> Images | None:
        return images_of(splits, how.split, shown.samples)

    return Analyzed(analysis, recorded, policy, network.cpu(), images, skipped), written


def write_analysis(directory: Path, analysis: Analysis) -> Path:
    """Write an analysis to a directory, each split's to a file of its own, ``test``'s and files' to ``analysis.json``.

    Args:
        directory: the run, or another; made if need be.
        analysis: what was found.

    Raises:
        OutputError: it cannot be written.
    """
    path = directory / (ANALYSIS if analysis.split in {"test", "file"} else f"analysis-{analysis.split}.json")
    write_json(path, analysis.document())
    return path


def _stored(run: Path, name: str, weights: str) -> ExitPredictions | None:
    """Return the predictions that a run holds of a split, if they are of these weights and whole."""
    path = run / PREDICTIONS / f"{name}.npz"
    try:
        known = read_arrays(path, (), ("weights",)).get("weights")
        return ExitPredictions.load(path) if known is not None and str(known) == weights else None
    except CheckpointError:  # none, or damaged: made anew
        return None


def _statistics(
    run: Path, network: ShallowDeepNetwork, splits: LazySplits, *, keep: bool, weights: str, context: RunContext
) -> tuple[ConfusionStatistics | None, str | None]:
    """Return the statistics of confusion, or why there are none."""
    known = read_statistics(run, weights)
    if known is not None:
        return known, None
    try:
        data = splits.read()
    except UNREADABLE as error:
        return None, f"Training images cannot be read: {error}"
    return measured_statistics(run, network, data, weights=weights, keep=keep, context=context), None


def _policy(policy: Policy) -> Mapping[str, object]:
    """Return what a report tells of a policy."""
    shown: dict[str, object] = {"thresholds": policy.thresholds, "signal": policy.signal}
    if policy.abstention is not None:
        shown |= {"abstains by": policy.abstention.indicator, "above": policy.abstention.threshold}
    return shown


def _promises(policy: Policy) -> str | None:
    """Return the sentences of a policy's promises, on accuracy and on the answers it gives."""
    made = [policy.promise, None if policy.abstention is None else policy.abstention.promise]
    return " ".join(promise.sentence for promise in made if promise) or None
