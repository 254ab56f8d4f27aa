"""From a saved RUN to its policy, and what that does on each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.analysis.accuracy import at_chance
from shallowdeep.calibration.abstention_fit import (
    abstention_block,
    answered,
    check_enough_to_abstain,
    with_abstention,
)
from shallowdeep.calibration.certification import check_enough
from shallowdeep.calibration.ensemble_fit import fit_ensemble
from shallowdeep.calibration.objective import Wish, check_wish
from shallowdeep.calibration.policy_search import (
    threshold_curve,
    with_threshold,
    within_budget,
    within_loss,
)
from shallowdeep.calibration.temperature import fit_temperatures, label_losses
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.load import DataSplits
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import final_answers, outcome_block
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.policy_file import POLICY, policy_document, write_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import ENSEMBLE
from shallowdeep.progress import Observer
from shallowdeep.report.tables import FEW_SAMPLES
from shallowdeep.runs.config import CONFIG, read_config
from shallowdeep.runs.confusion_file import measured_statistics
from shallowdeep.runs.directory import PREDICTIONS
from shallowdeep.runs.preparation import DataProgress
from shallowdeep.runs.splits import own_splits, predict_split
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.head_costs import head_costs

SPLITS = ("tune", "certify", "test")
Predictions = Mapping[str, ExitPredictions]


def calibrate_run(
    run: Path,
    wish: Wish,
    *,
    backbone: Path | None = None,
    batch_size: int = 250,
    device: str = "auto",
    skip_bad_images: bool = False,
    trust: bool = False,
    observer: Observer,
    data_progress: DataProgress | None = None,
) -> tuple[dict[str, Any], list[Path]]:
    """The ``calibrate`` document of a run and the files written: its policy, and predictions of three splits.

    Everything is chosen on ``tune``; ``certify`` decides about a promise alone; it and ``test`` are shown for any wish.

    Args:
        run: a RUN with internal classifiers.
        wish: what the policy is to do.
        backbone: a RUN on the same split of the same data whose final exit the test accuracy is compared with too.
        batch_size: images at a time.
        device: to predict on.
        skip_bad_images: leave out what cannot be decoded.
        trust: let manifests name code to run.
        observer: told how far predicting is.
        data_progress: told how far reading is.

    Returns:
        The document: ``run``, ``dataset``, ``exits`` (names), ``policy``, ``tune``, ``certify``, ``test``, ``promise``,
        ``abstention``, ``curve``, ``temperatures``, ``backbone`` (these five may be None), ``notes`` and
        ``skipped_images``; and the files.

    Raises:
        ShallowDeepError: the run or its data cannot be read, the wish makes no sense, or ``certify`` is too small.
    """
    if batch_size < 1:
        raise ConfigurationError(f"Expected a batch size of at least 1, got {batch_size}")
    manifest = read_manifest(run)
    if len(manifest.exits) == 1:
        raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
    shape = Policy((None,) * (len(manifest.exits) - 1), wish.signal, wish.fallback, (), wish.max_relative_cost)
    check_wish(wish, shape)
    if backbone is not None:
        read_manifest(backbone)  # a wrong one is told before hours of predicting
    if not (run / CONFIG).exists():
        raise ConfigurationError(f"Expected {CONFIG} in {run}, which says what was held out in training, found none")
    network = load(run, trust=trust)
    splits = own_splits(run, network, skip_bad_images=skip_bad_images, progress=data_progress)
    _check_sizes(wish, splits)
    network.to(pick_device(device))
    predictions = {
        name: predict_split(network, splits.split(name), splits.preprocessing, batch_size, observer) for name in SPLITS
    }
    weights = str(manifest.weights["sha256"])
    statistics = measured_statistics(run, network, splits, weights=weights, batch_size=batch_size, observer=observer)
    heads = head_costs(manifest.exits, manifest.backbone_macs)
    cascaded = any(exit_.cascaded for exit_ in manifest.exits)
    base, temperatures = _tempered(shape, wish, predictions["tune"])
    base = _with_ensemble(base, predictions["tune"])
    for_loss, for_abstention = _shared_out(predictions["certify"], wish)
    chosen = _chosen(wish, base, (predictions["tune"], for_loss), heads, cascaded=cascaded)
    policy = replace(chosen, weights=weights)
    origin = {"dataset": splits.name, "data_fingerprint": splits.fingerprint}
    fitted = {
        "temperatures_from": "tune" if policy.temperatures else None,
        "ensemble_from": "tune" if policy.ensemble else None,
    }
    policy = replace(policy, found={**policy.found, **origin, **fitted})
    given = {name: answered(policy, pred, heads, statistics) for name, pred in predictions.items()}
    if wish.abstain is not None:
        tested = answered(policy, for_abstention, heads, statistics)
        policy = with_abstention(policy, given["tune"], tested, error_rate=wish.abstain, confidence=wish.confidence)
    blocks = {
        name: {**outcome_block(policy, pred, heads), "answered": abstention_block(policy, given[name])}
        for name, pred in predictions.items()
    }
    document: dict[str, Any] = {
        "run": str(run),
        "dataset": splits.name,
        "exits": [exit_.name for exit_ in manifest.exits],
        "policy": policy_document(policy),
        **blocks,
        "promise": None if policy.promise is None else dict(policy.promise),
        "abstention": _abstention(policy),
        "curve": None,
        "temperatures": temperatures if policy.temperatures else None,
        "backbone": None,
        "notes": [*_notes(policy, predictions), *_foreign_weights(run, policy)],
        "skipped_images": len({*splits.tune.skipped, *splits.certify.skipped, *splits.test.skipped}),
    }
    if wish.threshold is not None:
        shown = {name: predictions[name] for name in ("tune", "test")}
        document["curve"] = threshold_curve(predictions["tune"], shown, base, heads)
    if backbone is not None:
        document["backbone"] = _against(
            backbone, splits, blocks["test"]["accuracy"], batch_size=batch_size, device=device, trust=trust,
            observer=observer, progress=data_progress,
        )  # fmt: skip
    return document, _write(run, policy, predictions)


def _check_sizes(wish: Wish, splits: DataSplits) -> None:
    """Refuse, before anything is predicted, promises that ``certify`` is too small for."""
    parts = 2 if wish.max_accuracy_loss is not None and wish.abstain is not None else 1
    samples = len(splits.certify) // parts
    if wish.abstain is not None:
        check_enough_to_abstain(samples, error_rate=wish.abstain, confidence=wish.confidence, parts=parts)
    if wish.max_accuracy_loss is not None:
        check_enough(
            samples, risk=wish.risk, eps=wish.max_accuracy_loss, delta=1 - wish.confidence,
            held=len(splits.train) + len(splits.calibration), parts=parts,
        )  # fmt: skip


def _tempered(shape: Policy, wish: Wish, tune: ExitPredictions) -> tuple[Policy, dict[str, Any] | None]:
    """Return the policy with temperatures where they are wanted, and what they change."""
    by_default = wish.threshold is None and wish.signal != ENSEMBLE  # an ensemble's weights do it already
    wanted = by_default if wish.temperatures is None else wish.temperatures
    if not wanted:
        return shape, None
    logits, labels = to_numpy(tune.logits), to_numpy(tune.labels)
    values = fit_temperatures(logits, labels)
    return replace(shape, temperatures=values), {
        "fitted_on": "tune",
        "values": list(values),
        "label_loss_before": list(label_losses(logits, labels, [1.0] * tune.exits)),
        "label_loss_after": list(label_losses(logits, labels, values)),
    }


def _with_ensemble(base: Policy, tune: ExitPredictions) -> Policy:
    """Return the policy's settings with the ensemble's weights, fitted to ``tune``, where the signal is one."""
    if base.signal != ENSEMBLE:
        return base
    logits = np.stack([to_numpy(tune.logits)[k] / base.temperature_at(k) for k in range(tune.exits)])
    everywhere = shared_threshold(NEVER, base.exits).thresholds
    return replace(base, thresholds=everywhere, ensemble=fit_ensemble(logits, to_numpy(tune.labels)))


def _shared_out(certify: ExitPredictions, wish: Wish) -> tuple[ExitPredictions, ExitPredictions]:
    """Return what the loss is tested on and what abstention is.

    A policy that was chosen with samples may not be tested on them again: where both are promised each gets a half.
    """
    if wish.max_accuracy_loss is None or wish.abstain is None:
        return certify, certify
    order = seeded_order(certify.samples, 0)
    halves = (np.sort(order[::2]), np.sort(order[1::2]))
    first, second = (ExitPredictions(certify.logits[:, half], certify.labels[half], certify.costs) for half in halves)
    return first, second


def _chosen(
    wish: Wish,
    base: Policy,
    known: tuple[ExitPredictions, ExitPredictions],
    heads: Sequence[float],
    *,
    cascaded: bool,
) -> Policy:
    """Return the policy that the wish asks for, by ``tune`` and what of ``certify`` the loss is tested on."""
    tune, certify = known
    if wish.threshold is not None:
        return with_threshold(base, wish.threshold)
    if wish.budget is not None:
        return within_budget(tune, base, heads, wish.budget, cascaded=cascaded)
    return within_loss(
        tune, certify, base, heads,
        loss=wish.max_accuracy_loss or 0.0, confidence=wish.confidence, risk=wish.risk, cascaded=cascaded,
    )  # fmt: skip


def _abstention(policy: Policy) -> dict[str, Any] | None:
    """Return what is withheld and what that promises."""
    found = policy.abstention
    if found is None:
        return None
    return {"indicator": found.indicator, "threshold": found.threshold, "promise": dict(found.promise or {})}


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


def _against(
    run: Path,
    splits: DataSplits,
    accuracy: float,
    *,
    batch_size: int,
    device: str,
    trust: bool,
    observer: Observer,
    progress: DataProgress | None,
) -> dict[str, Any]:
    """Return the test accuracy of another run's final exit, and how far ``accuracy`` is below it.

    Raises:
        ConfigurationError: that run has other data or another split of it.
    """
    network = load(run, trust=trust)
    own = own_splits(run, network, progress=progress)
    if own.fingerprint != splits.fingerprint:
        raise ConfigurationError(f"Expected a backbone trained on the same split of the same data, got {run}")
    pred = predict_split(network.to(pick_device(device)), own.test, own.preprocessing, batch_size, observer)
    final = float((final_answers(pred) == to_numpy(pred.labels)).mean())
    return {"run": str(run), "final_accuracy": final, "accuracy_lost": final - accuracy}


def _notes(policy: Policy, predictions: Predictions) -> list[str]:
    """Return what a reader should know besides the numbers."""
    tune, warning = predictions["tune"], at_chance(predictions["test"], "test")
    notes = [] if warning is None else [warning]
    fitted = policy.found["method"] != "threshold" or policy.ensemble is not None
    if tune.samples < FEW_SAMPLES and fitted:
        notes.append(f"Chosen on {tune.samples} tune samples: these are few, expect other costs and losses.")
    if policy.promise is not None and policy.abstention is not None:
        both = max(0.0, 100 * (2 * float(policy.promise["confidence"]) - 1))
        notes.append(
            f"Each promise was tested on a half of certify and has its own confidence; both at once hold with "
            f"{both:g} %."
        )
    if "note" in policy.found:
        notes.append(policy.found["note"])
    return notes


def _write(run: Path, policy: Policy, predictions: Predictions) -> list[Path]:
    """Write predictions, then the policy; returns their paths."""
    written = []
    for name, pred in predictions.items():
        written.append(run / PREDICTIONS / f"{name}.npz")
        pred.save(written[-1], policy.weights)
    write_policy(policy, run / POLICY)
    return [*written, run / POLICY]
