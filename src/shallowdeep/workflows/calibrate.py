"""From a saved RUN to its policy, and what that does on each split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from shallowdeep.analysis.accuracy import at_chance
from shallowdeep.artifacts import CONFIG, POLICY, PREDICTIONS
from shallowdeep.calibration.abstention_fit import answered, answers_given
from shallowdeep.calibration.calibrate import Calibration, Search, calibrate_predictions, check_sizes
from shallowdeep.calibration.calibration_report import (
    BackboneComparison,
    CalibrationReport,
    ExitTimes,
    SharedThresholdCurve,
    SplitCurve,
)
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.promisable import option_of
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.held_out import HeldOut, load_held_out, shared_images
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.choice import ByLoss, ByThreshold, Static
from shallowdeep.exits.outcome import final_answers, relative_time, summarize
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import policy_document, write_policy
from shallowdeep.exits.predictions import FEW_SAMPLES, ExitPredictions
from shallowdeep.exits.restriction import restricted
from shallowdeep.exits.threshold_curve import Floats, default_thresholds, threshold_curve
from shallowdeep.files import reading, require_writable
from shallowdeep.inference.export import BundleWriter
from shallowdeep.inference.plan_record import Plan
from shallowdeep.inference.plan_verdict import named
from shallowdeep.inference.precision import F32, Runtime
from shallowdeep.inference.promise_here import promised_here
from shallowdeep.inference.runtime_prediction import RuntimeExits
from shallowdeep.runs.config import read_config
from shallowdeep.runs.confusion_file import measured_statistics
from shallowdeep.runs.data_record import is_own
from shallowdeep.runs.origins import origins
from shallowdeep.runs.plan_file import differences, read_plan
from shallowdeep.runs.skipped_images import each_once, skipped_names, write_skipped
from shallowdeep.runs.splits import own_splits, precision_on, predict_split, read_splits
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork

SPLITS = ("tune", "certify", "test")
Predictions = Mapping[str, ExitPredictions]


Choice = Callable[[int, float], Objective]
"""From the number of ``certify`` images, and the relative cost of leaving at the first exit, to what is asked for."""


def calibrate_run(
    run: Path,
    objective: Objective | Choice,
    *,
    data: str | None = None,
    held_out: str | None = None,
    backbone: Path | None = None,
    runtime: Runtime | None = None,
    exits: Sequence[int] | None = None,
    follow_plan: bool = False,
    context: RunContext,
) -> tuple[CalibrationReport, list[Path]]:
    """What ``calibrate`` finds for a run, and the files written: its policy, and predictions of its own splits.

    Everything is chosen on ``tune``; ``certify`` decides about a promise alone; it and ``test`` are shown for any
    objective.

    Args:
        run: a RUN with internal classifiers.
        objective: what the policy is to do; a function gives it for the number of ``certify`` images and the relative
            cost of leaving at the first exit.
        data: where the run's own data is now; what is not a copy of it is taken for ``held_out``.
        held_out: images of the user's own, cut into ``tune`` and ``certify`` in place of the run's.
        backbone: a RUN on the same split of the same data whose final exit the test accuracy is compared with too.
        runtime: whose outputs the policy is chosen and tested on, its losses counted against the float32 network's
            final exit; None for float32 in PyTorch.
        exits: internal classifiers that the policy may use; None for all.
        follow_plan: take runtime and exits from the run's plan for this machine, where neither is given and one is.
        context: where to predict, progress, trust, and what to do with bad images.

    Raises:
        ShallowDeepError: the run or its data cannot be read, ``certify`` is too small, or held-out images are among
            those trained on.
    """
    with reading(run):
        where = _Where(runtime, Search(None if exits is None else tuple(exits)), None)
        if follow_plan and runtime is None and exits is None:
            where = _planned(run, context)
        return _calibrated(run, objective, (data, held_out), backbone=backbone, where=where, context=context)


class _Where(NamedTuple):
    """Where a policy is looked for: the runtime, its exits, and the plan that says so."""

    runtime: Runtime | None
    search: Search
    plan: Plan | None


def _planned(run: Path, context: RunContext) -> _Where:
    """Return where the run's plan for this machine says; anywhere where there is none."""
    weights = str(read_manifest(run).weights["sha256"])
    plan = read_plan(run, weights)
    if plan is None:
        return _Where(None, Search(), None)
    what = named(plan.exits) if plan.exits else "no early exit"
    context.progress.say(
        f"By the plan for this machine of {plan.date}: {what}, in {plan.name} (--no-plan for all exits)"
    )
    runtime = None if plan.precision == F32 else Runtime(plan.backend, plan.precision)
    return _Where(runtime, Search(plan.exits, plan.times), plan)


def _calibrated(
    run: Path,
    objective: Objective | Choice,
    sources: tuple[str | None, str | None],
    *,
    backbone: Path | None,
    where: _Where,
    context: RunContext,
) -> tuple[CalibrationReport, list[Path]]:
    """What `calibrate_run` returns of a run that nobody trains."""
    manifest = read_manifest(run)
    if len(manifest.exits) == 1:
        raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
    if backbone is not None:
        read_manifest(backbone)  # a wrong one is told before hours of predicting
    if not (run / CONFIG).exists():
        raise ConfigurationError(f"Expected {CONFIG} in {run}, which says what was held out in training, found none")
    require_writable(run, "calibrate writes to the run")
    network = load(run, trust=context.trust)
    images = calibration_splits(run, network, *sources, context)
    splits, held_out, place = images.used, images.held_out, images.place
    if callable(objective):
        objective = objective(len(splits.certify), float(network.costs[0]))
        context.progress.say(f"For {len(splits.certify):,} certify images: {option_of(objective)}")
    check_sizes(objective, len(splits.certify), None if held_out else splits.cut_from)
    if where.plan is not None:
        now = splits.fingerprints.splits if held_out is None else held_out.fingerprint
        otherwise = differences(where.plan, objective, now)
        if otherwise:
            context.progress.say(f"That plan was made for {', '.join(otherwise)}; `plan` makes another")
    network.to(pick_device(context.device))
    predictions = {name: predict_split(network, splits.split(name), splits.preprocessing, context) for name in SPLITS}
    statistics = measured_statistics(run, network, splits, weights=network.weights, context=context)
    own = predictions
    if where.runtime is not None:
        predictions = _in_runtime(network.cpu(), where.runtime, images, own, context)
    calibration = calibrate_predictions(
        objective, predictions["tune"], predictions["certify"], statistics, where.search
    )
    policy = _for_runtime(_on_data(calibration.policy, splits, held_out), where)
    if where.runtime is not None:
        policy = promised_here(policy, where.runtime.backend, where.runtime.precision)
    outcomes = {
        name: replace(
            summarize(policy, pred),
            answered=answers_given(policy, answered(policy, pred, statistics)),
            relative_time=relative_time(policy, pred, where.search.times),
        )
        for name, pred in predictions.items()
    }
    chance = at_chance(predictions["test"], "test")
    skipped = skipped_names(splits.tune, splits.certify, splits.test)
    report = CalibrationReport(
        run=str(run),
        dataset=splits.name,
        calibrated_on=splits.name if held_out is None else held_out.name,
        exits=tuple(exit_.name for exit_ in manifest.exits),
        policy=policy,
        tune=outcomes["tune"],
        certify=outcomes["certify"],
        test=outcomes["test"],
        promise=policy.promise,
        abstention=policy.abstention,
        curve=None if objective.threshold is None else _curve(predictions, calibration),
        milliseconds=_milliseconds(policy, where.plan),
        temperatures=calibration.temperatures,
        backbone=None if backbone is None else _against(backbone, splits, place, outcomes["test"].accuracy, context),
        chance=chance,
        notes=(*_notes(policy, predictions["tune"], chance), *_foreign_weights(run, policy)),
        skipped_images=len(each_once(skipped)),
        skipped_files=each_once(skipped),
    )
    own = {name: pred for name, pred in own.items() if held_out is None or name == "test"}
    return report, [*write_skipped(run, skipped), *_write(run, policy, own)]


def calibration_document(report: CalibrationReport) -> dict[str, Any]:
    """Return what JSON holds of it; the policy as in its file."""
    return {**plain(report), "policy": policy_document(report.policy)}


class CalibrationSplits(NamedTuple):
    """The images to calibrate on.

    Attributes:
        own: the run's own.
        held_out: the user's, which take the place of its ``tune`` and ``certify``; None for none.
        place: where the run's own data is now; None for where it was.
    """

    own: DataSplits
    held_out: HeldOut | None
    place: str | None

    @property
    def used(self) -> DataSplits:
        """With the ``tune`` and ``certify`` to calibrate on."""
        if self.held_out is None:
            return self.own
        return replace(self.own, tune=self.held_out.tune, certify=self.held_out.certify)


def calibration_splits(
    run: Path, network: ShallowDeepNetwork, data: str | None, held_out: str | None, context: RunContext
) -> CalibrationSplits:
    """Return the images to calibrate on.

    Args:
        run: a RUN.
        network: its network.
        data: where the run's own data is now; what is not a copy of it is taken for ``held_out``.
        held_out: images of the user's own, cut into ``tune`` and ``certify`` in place of the run's.
        context: progress, and what to do with bad images.

    Raises:
        ShallowDeepError: they cannot be read, or are among those that the network was trained or is tested on.
    """
    if held_out is None and data is not None and not _is_copy(run, network, data, context):
        data, held_out = None, data
    splits = own_splits(run, network, data, context=context)
    if held_out is None:
        if splits.cut_from is None:
            _check_apart((splits.tune, splits.certify), splits.train, "training", "the data's calibration part")
        return CalibrationSplits(splits, None, data)
    seed = read_config(run / CONFIG).seed
    found = load_held_out(
        held_out, classes=splits.classes, preprocessing=images_alone(splits.preprocessing), seed=seed,
        skip_bad_images=context.skip_bad_images, progress=context.progress,
    )  # fmt: skip
    for part in (splits.train, splits.test):
        _check_apart((found.tune, found.certify), part, "training" if part is splits.train else "test", held_out)
    return CalibrationSplits(splits, found, data)


def _in_runtime(
    network: ShallowDeepNetwork, runtime: Runtime, images: CalibrationSplits, own: Predictions, context: RunContext
) -> dict[str, ExitPredictions]:
    """Return the predictions of a runtime; at a lower precision losses count against the float32 network's answers."""
    splits = images.used
    writer = BundleWriter(network, runtime.backend, precision_on(images.own, runtime.precision))
    found: dict[str, ExitPredictions] = {}
    with RuntimeExits(writer, context.progress) as exits:
        for name, pred in own.items():
            part = splits.split(name)
            with context.progress.start(f"predicting {name} in {exits.name}", "images", len(part)) as bar:
                here = exits.predict(Batches(part, splits.preprocessing, context.batch_size), bar)
            found[name] = here if runtime.precision == F32 else here.against(final_answers(pred))
    return found


def _check_apart(held_out: Sequence[ImageSplit], other: ImageSplit, what: str, source: str) -> None:
    """Refuse held-out images that the network was trained on, or that its figures are shown on."""
    shared = shared_images(held_out, other)
    if shared:
        raise DataError(
            f"Expected images in {source} that are not among the {what} images, got {len(shared):,} of these, such as "
            f"{shared[0]}"
        )


def _is_copy(run: Path, network: ShallowDeepNetwork, data: str, context: RunContext) -> bool:
    """Whether ``data`` is the run's own, such as a copy that was moved."""
    try:
        return is_own(run, read_splits(run, network, data, context=context).fingerprints)
    except (DataError, ConfigurationError):  # a folder of some classes, say, which is no dataset to train on
        return False


def _on_data(policy: Policy, splits: DataSplits, held_out: HeldOut | None) -> Policy:
    """Return the policy with the data it was found on."""
    if policy.found is None:
        return policy
    name, fingerprint = splits.name, splits.fingerprints.splits
    if held_out is not None:
        name, fingerprint = held_out.name, held_out.fingerprint
    return replace(policy, found=replace(policy.found, dataset=name, data_fingerprint=fingerprint))


def _for_runtime(policy: Policy, where: _Where) -> Policy:
    """Return the policy with the runtime that it was found for, which `export` writes."""
    runtime, plan = where.runtime, where.plan
    if plan is not None:
        runtime = Runtime(plan.backend, plan.precision)
    if policy.found is None or runtime is None:
        return policy
    found = replace(policy.found, backend=runtime.backend, precision=runtime.precision, planned=plan is not None)
    return replace(policy, found=found)


def _milliseconds(policy: Policy, plan: Plan | None) -> ExitTimes | None:
    """Return what reaching each exit in use takes at the plan's largest batch size."""
    if plan is None or plan.times is None:
        return None
    shares = dict(zip(policy.in_use, plan.times.in_use(policy.in_use).tolist(), strict=True))
    static = plan.static_ms[-1]
    reached = tuple(static * shares[exit_] if exit_ in shares else None for exit_ in range(policy.exits))
    return ExitTimes(int(plan.setting["batch_sizes"][-1]), static, reached)


def _curve(predictions: Predictions, found: Calibration) -> SharedThresholdCurve:
    """Return accuracy and cost of one threshold for the exits searched, for thresholds that cover ``tune`` evenly."""
    on_tune, on_test = (restricted(predictions[name], found.kept) for name in ("tune", "test"))
    thresholds = default_thresholds(on_tune, found.base)
    tune, test = (_split_curve(pred, thresholds, found.base) for pred in (on_tune, on_test))
    return SharedThresholdCurve("tune", tuple(thresholds.tolist()), tune, test)


def _split_curve(pred: ExitPredictions, thresholds: Floats, base: Policy) -> SplitCurve:
    curve = threshold_curve(pred, thresholds, base)
    return SplitCurve(tuple(curve.accuracy.tolist()), tuple(curve.relative_cost.tolist()))


def _foreign_weights(run: Path, policy: Policy) -> list[str]:
    """Return a warning where the network may have seen the calibration split: its weights came from elsewhere."""
    promised = policy.promise is not None or policy.abstention is not None
    sources = origins(run) if promised else []
    if not sources:
        return []
    holds = "The promise holds only if none of these was trained on the certify images."
    return [f"The backbone began with {'; '.join(sources)}. {holds}"]


def _against(
    run: Path, splits: DataSplits, place: str | None, accuracy: float, context: RunContext
) -> BackboneComparison:
    """Return the test accuracy of another run's final exit, and how far ``accuracy`` is below it.

    Raises:
        ConfigurationError: that run has other data or another split of it.
    """
    network = load(run, trust=context.trust)
    own = own_splits(run, network, place, context=replace(context, skip_bad_images=False))
    if own.fingerprints != splits.fingerprints:
        raise ConfigurationError(f"Expected a backbone trained on the same split of the same data, got {run}")
    pred = predict_split(network.to(pick_device(context.device)), own.test, own.preprocessing, context)
    final = float((final_answers(pred) == to_numpy(pred.labels)).mean())
    return BackboneComparison(str(run), final, final - accuracy)


def _notes(policy: Policy, tune: ExitPredictions, chance: str | None) -> list[str]:
    """Return what a reader should know besides the numbers."""
    notes = [] if chance is None else [chance]
    rule = None if policy.found is None else policy.found.rule
    fitted = not isinstance(rule, ByThreshold | Static) or policy.ensemble is not None
    if tune.samples < FEW_SAMPLES and fitted:
        notes.append(f"Chosen on {tune.samples} tune samples: these are few, expect other costs and losses.")
    if policy.promise is not None and policy.abstention is not None:
        both = max(0.0, 100 * (2 * policy.promise.confidence - 1))
        notes.append(
            f"Each promise was tested on a half of certify and has its own confidence; both at once hold with "
            f"{both:g} %."
        )
    if isinstance(rule, ByLoss | Static):
        notes.append(rule.note)
    return notes


def _write(run: Path, policy: Policy, predictions: Predictions) -> list[Path]:
    """Write predictions, then the policy; returns their paths."""
    written = []
    for name, pred in predictions.items():
        written.append(run / PREDICTIONS / f"{name}.npz")
        pred.save(written[-1])
    write_policy(policy, run / POLICY)
    return [*written, run / POLICY]
