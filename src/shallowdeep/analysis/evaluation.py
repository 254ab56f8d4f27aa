"""What ``evaluate`` finds: what each exit costs and achieves, and what thresholds make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shallowdeep.analysis.accuracy import ExitFigures, at_chance, cumulative_accuracy, exit_figures
from shallowdeep.analysis.operating_points import OperatingPoint, check_same_network, operating_points
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import default_thresholds, threshold_curve


@dataclass(frozen=True)
class ShownCurve:
    """Accuracy and cost of one threshold for all exits, by the threshold: chosen on one split, shown on another.

    Attributes:
        chosen_on: the split that the thresholds cover evenly.
        samples_chosen_on: of that split.
        shown_on: the split that accuracy and cost are of.
        thresholds: (T,) rising.
        accuracy: (T,) fractions.
        relative_cost: (T,) mean costs, relative to the backbone.
    """

    chosen_on: str
    samples_chosen_on: int
    shown_on: str
    thresholds: tuple[float, ...]
    accuracy: tuple[float, ...]
    relative_cost: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` finds.

    Attributes:
        dataset: name of the data.
        split: the split shown.
        samples: of it.
        classes: number of classes.
        exits: one of each exit, the final classifier last.
        cumulative_accuracy: share of the samples that some exit classifies correctly.
        backbone_macs: multiply-adds of one sample through the unmodified backbone.
        parameters: number of parameters, internal classifiers included.
        backbone_parameters: number of parameters of the backbone alone.
        threshold_curve: of one threshold for all exits; None where there is no ``tune`` to choose on.
        operating_points: for budgets and for a largest loss; empty likewise.
        warning: that the network has not learned, or None.
        tune_dataset: name of the data that ``tune`` is of; None where it is not known.
        certify_samples: samples held out for promises; None likewise.
        skipped_images: bad images left out.
        skipped_files: their names.
    """

    dataset: str
    split: str
    samples: int
    classes: int
    exits: tuple[ExitFigures, ...]
    cumulative_accuracy: float
    backbone_macs: int
    parameters: int
    backbone_parameters: int
    threshold_curve: ShownCurve | None
    operating_points: tuple[OperatingPoint, ...]
    warning: str | None = None
    tune_dataset: str | None = None
    certify_samples: int | None = None
    skipped_images: int = 0
    skipped_files: tuple[str, ...] = ()

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each exit, a fraction; evaluated samples have labels."""
        return tuple(exit_.accuracy for exit_ in self.exits if exit_.accuracy is not None)


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
) -> Evaluation:
    """Return what each exit costs and achieves, and what thresholds make of it.

    Every threshold comes from ``tune``; without it there are none.

    Args:
        dataset: name of the data.
        split: the split ``pred`` is of, such as ``"test"``.
        pred: what is shown.
        tune: predictions of the same network on the split thresholds are chosen on.
        names: one for each exit, the final classifier last.
        backbone_macs: multiply-adds of one sample through the unmodified backbone.
        parameters: number of parameters, internal classifiers included.
        backbone_parameters: number of parameters of the backbone alone.

    Raises:
        ConfigurationError: not one name for each exit.
        DataError: ``tune`` is not of the same network.
    """
    if len(names) != pred.exits:
        raise ConfigurationError(f"Expected a name for each of {pred.exits} exits, got {len(names)}")
    return Evaluation(
        dataset=dataset,
        split=split,
        samples=pred.samples,
        classes=pred.classes,
        exits=exit_figures(pred, names),
        cumulative_accuracy=cumulative_accuracy(pred),
        backbone_macs=int(backbone_macs),
        parameters=int(parameters),
        backbone_parameters=int(backbone_parameters),
        threshold_curve=None if tune is None else _shown_curve(split, pred, tune),
        operating_points=() if tune is None else tuple(operating_points(tune, pred)),
        warning=at_chance(pred, split),
    )


def evaluation_from(document: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation that JSON holds, such as ``metrics.json`` of a run."""
    curve = document["threshold_curve"]
    parts = {
        "exits": tuple(ExitFigures(**exit_) for exit_ in document["exits"]),
        "threshold_curve": None if curve is None else ShownCurve(**_with_tuples(curve)),
        "operating_points": tuple(OperatingPoint(**_with_tuples(point)) for point in document["operating_points"]),
    }
    return Evaluation(**_with_tuples({**document, **parts}))


def _with_tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same fields with lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def _shown_curve(split: str, pred: ExitPredictions, tune: ExitPredictions) -> ShownCurve:
    """Return the curve over ``tune``'s thresholds as shown on ``pred``."""
    check_same_network(tune, pred)
    curve = threshold_curve(pred, default_thresholds(tune))
    return ShownCurve(
        chosen_on="tune",
        samples_chosen_on=tune.samples,
        shown_on=split,
        thresholds=tuple(curve.thresholds.tolist()),
        accuracy=tuple(curve.accuracy.tolist()),
        relative_cost=tuple(curve.relative_cost.tolist()),
    )
