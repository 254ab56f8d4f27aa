"""The document the ``evaluate`` command prints: what each exit costs and achieves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from shallowdeep.analysis.accuracy import at_chance, correct_so_far, exit_accuracies
from shallowdeep.analysis.operating_points import check_same_network, operating_points
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import default_thresholds, threshold_curve


def evaluation(
    dataset: str,
    split: str,
    pred: ExitPredictions,
    *,
    tune: ExitPredictions | None,
    names: Sequence[str],
    backbone_macs: int,
    parameters: int,
    backbone_parameters: int,
) -> dict[str, Any]:
    """Return the ``evaluate`` document: plain numbers, strings, lists and None, ready for JSON.

    Accuracies, shares and costs are fractions. Every threshold comes from ``tune``; without it there are none:
    ``threshold_curve`` is None and ``operating_points`` empty.

    Args:
        dataset: name of the data.
        split: the split ``pred`` is of, such as ``"test"``.
        pred: what is shown.
        tune: predictions of the same network on the split thresholds are chosen on.
        names: one for each exit, the final classifier last.
        backbone_macs: multiply-adds of one sample through the unmodified backbone.
        parameters: number of parameters, internal classifiers included.
        backbone_parameters: number of parameters of the backbone alone.

    Returns:
        ``dataset``, ``split``, ``samples``, ``classes``, ``exits`` (each ``name``, ``relative_cost``, ``accuracy``,
        ``correct_so_far``), ``cumulative_accuracy``, ``backbone_macs``, ``parameters``, ``backbone_parameters``,
        ``threshold_curve`` (``chosen_on``, ``samples_chosen_on``, ``shown_on``, ``thresholds``, ``accuracy``,
        ``relative_cost``), ``operating_points`` (fields of ``OperatingPoint``) and ``warning`` (None, or that the
        network has not learned).

    Raises:
        ConfigurationError: not one name for each exit.
        DataError: ``tune`` is not of the same network.
    """
    if len(names) != pred.exits:
        raise ConfigurationError(f"Expected a name for each of {pred.exits} exits, got {len(names)}")
    rows = zip(names, pred.costs, exit_accuracies(pred), correct_so_far(pred), strict=True)
    exits = [
        {"name": name, "relative_cost": float(cost), "accuracy": float(accuracy), "correct_so_far": float(so_far)}
        for name, cost, accuracy, so_far in rows
    ]
    return {
        "dataset": dataset,
        "split": split,
        "samples": pred.samples,
        "classes": pred.classes,
        "exits": exits,
        "cumulative_accuracy": exits[-1]["correct_so_far"],
        "backbone_macs": int(backbone_macs),
        "parameters": int(parameters),
        "backbone_parameters": int(backbone_parameters),
        "threshold_curve": None if tune is None else _curve_block(split, pred, tune),
        "operating_points": [] if tune is None else [_plain(asdict(point)) for point in operating_points(tune, pred)],
        "warning": at_chance(pred, split),
    }


def _curve_block(split: str, pred: ExitPredictions, tune: ExitPredictions) -> dict[str, Any]:
    """Return the curve over ``tune``'s thresholds as shown on ``pred``."""
    check_same_network(tune, pred)
    curve = threshold_curve(pred, default_thresholds(tune))
    return {
        "chosen_on": "tune",
        "samples_chosen_on": tune.samples,
        "shown_on": split,
        "thresholds": curve.thresholds.tolist(),
        "accuracy": curve.accuracy.tolist(),
        "relative_cost": curve.relative_cost.tolist(),
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the same fields with tuples as lists, as they come back from JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
