"""From a saved RUN to its policy, and what that does on each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shallowdeep.analysis.accuracy import at_chance
from shallowdeep.artifacts import CONFIG, POLICY, PREDICTIONS
from shallowdeep.calibration.abstention_fit import answered, answers_given
from shallowdeep.calibration.calibrate import calibrate_predictions, check_sizes
from shallowdeep.calibration.calibration_report import (
    BackboneComparison,
    CalibrationReport,
    SharedThresholdCurve,
    SplitCurve,
)
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.data.load import DataSplits
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.choice import ByLoss, ByThreshold
from shallowdeep.exits.outcome import final_answers, summarize
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import policy_document, write_policy
from shallowdeep.exits.predictions import FEW_SAMPLES, ExitPredictions
from shallowdeep.exits.threshold_curve import Floats, default_thresholds, threshold_curve
from shallowdeep.runs.config import read_config
from shallowdeep.runs.confusion_file import measured_statistics
from shallowdeep.runs.splits import own_splits, predict_split
from shallowdeep.runtime import pick_device

SPLITS = ("tune", "certify", "test")
Predictions = Mapping[str, ExitPredictions]


def calibrate_run(
    run: Path, objective: Objective, *, backbone: Path | None = None, context: RunContext
) -> tuple[CalibrationReport, list[Path]]:
    """What ``calibrate`` finds for a run, and the files written: its policy, and predictions of three splits.

    Everything is chosen on ``tune``; ``certify`` decides about a promise alone; it and ``test`` are shown for any
    objective.

    Args:
        run: a RUN with internal classifiers.
        objective: what the policy is to do.
        backbone: a RUN on the same split of the same data whose final exit the test accuracy is compared with too.
        context: where to predict, progress, trust, and what to do with bad images.

    Raises:
        ShallowDeepError: the run or its data cannot be read, or ``certify`` is too small.
    """
    manifest = read_manifest(run)
    if len(manifest.exits) == 1:
        raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
    if backbone is not None:
        read_manifest(backbone)  # a wrong one is told before hours of predicting
    if not (run / CONFIG).exists():
        raise ConfigurationError(f"Expected {CONFIG} in {run}, which says what was held out in training, found none")
    network = load(run, trust=context.trust)
    splits = own_splits(run, network, context=context)
    check_sizes(objective, len(splits.certify), len(splits.train) + len(splits.calibration))
    network.to(pick_device(context.device))
    predictions = {name: predict_split(network, splits.split(name), splits.preprocessing, context) for name in SPLITS}
    statistics = measured_statistics(run, network, splits, weights=network.weights, context=context)
    calibration = calibrate_predictions(objective, predictions["tune"], predictions["certify"], statistics)
    policy = _on_data(calibration.policy, splits)
    outcomes = {
        name: replace(summarize(policy, pred), answered=answers_given(policy, answered(policy, pred, statistics)))
        for name, pred in predictions.items()
    }
    report = CalibrationReport(
        run=str(run),
        dataset=splits.name,
        exits=tuple(exit_.name for exit_ in manifest.exits),
        policy=policy,
        tune=outcomes["tune"],
        certify=outcomes["certify"],
        test=outcomes["test"],
        promise=policy.promise,
        abstention=policy.abstention,
        curve=None if objective.threshold is None else _curve(predictions, calibration.base),
        temperatures=calibration.temperatures,
        backbone=None if backbone is None else _against(backbone, splits, outcomes["test"].accuracy, context),
        notes=(*_notes(policy, predictions), *_foreign_weights(run, policy)),
        skipped_images=len({*splits.tune.skipped, *splits.certify.skipped, *splits.test.skipped}),
    )
    return report, _write(run, policy, predictions)


def calibration_document(report: CalibrationReport) -> dict[str, Any]:
    """Return what JSON holds of it; the policy as in its file."""
    return {**plain(report), "policy": policy_document(report.policy)}


def _on_data(policy: Policy, splits: DataSplits) -> Policy:
    """Return the policy with the data it was found on."""
    if policy.found is None:
        return policy
    fingerprint = splits.fingerprints.splits
    return replace(policy, found=replace(policy.found, dataset=splits.name, data_fingerprint=fingerprint))


def _curve(predictions: Predictions, base: Policy) -> SharedThresholdCurve:
    """Return accuracy and cost of one threshold for all exits, for thresholds that cover ``tune`` evenly."""
    thresholds = default_thresholds(predictions["tune"], base)
    tune, test = (_split_curve(predictions[name], thresholds, base) for name in ("tune", "test"))
    return SharedThresholdCurve("tune", tuple(thresholds.tolist()), tune, test)


def _split_curve(pred: ExitPredictions, thresholds: Floats, base: Policy) -> SplitCurve:
    curve = threshold_curve(pred, thresholds, base)
    return SplitCurve(tuple(curve.accuracy.tolist()), tuple(curve.relative_cost.tolist()))


def _foreign_weights(run: Path, policy: Policy) -> list[str]:
    """Return a warning where the network may have seen the calibration split: its weights came from elsewhere."""
    config = read_config(run / CONFIG)
    promised = policy.promise is not None or policy.abstention is not None
    if not promised or not (config.weights or config.pretrained):
        return []
    source = config.weights or "published weights"
    return [
        f"The backbone began with {source}. The promise holds only if these were not trained on the certify images."
    ]


def _against(run: Path, splits: DataSplits, accuracy: float, context: RunContext) -> BackboneComparison:
    """Return the test accuracy of another run's final exit, and how far ``accuracy`` is below it.

    Raises:
        ConfigurationError: that run has other data or another split of it.
    """
    network = load(run, trust=context.trust)
    own = own_splits(run, network, context=replace(context, skip_bad_images=False))
    if own.fingerprints != splits.fingerprints:
        raise ConfigurationError(f"Expected a backbone trained on the same split of the same data, got {run}")
    pred = predict_split(network.to(pick_device(context.device)), own.test, own.preprocessing, context)
    final = float((final_answers(pred) == to_numpy(pred.labels)).mean())
    return BackboneComparison(str(run), final, final - accuracy)


def _notes(policy: Policy, predictions: Predictions) -> list[str]:
    """Return what a reader should know besides the numbers."""
    tune, warning = predictions["tune"], at_chance(predictions["test"], "test")
    notes = [] if warning is None else [warning]
    rule = None if policy.found is None else policy.found.rule
    fitted = not isinstance(rule, ByThreshold) or policy.ensemble is not None
    if tune.samples < FEW_SAMPLES and fitted:
        notes.append(f"Chosen on {tune.samples} tune samples: these are few, expect other costs and losses.")
    if policy.promise is not None and policy.abstention is not None:
        both = max(0.0, 100 * (2 * policy.promise.confidence - 1))
        notes.append(
            f"Each promise was tested on a half of certify and has its own confidence; both at once hold with "
            f"{both:g} %."
        )
    if isinstance(rule, ByLoss):
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
