"""What one set of predictions shows of overthinking, confusion and error indicators: the ``analyze`` document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import ExitFigures, at_chance, cumulative_accuracy, exit_figures
from shallowdeep.analysis.answer_rule import AnswerRuleFindings, evaluate_answer_rule, fit_answer_rule
from shallowdeep.analysis.claims import Claim, claims
from shallowdeep.analysis.confusion_levels import ConfusionLevels, confusion_levels, confusion_scores
from shallowdeep.analysis.error_detection import Detection, detection, detection_intervals
from shallowdeep.analysis.error_indicators import DEFAULT_POWER, best_power, indicator_scores
from shallowdeep.analysis.overthinking import (
    RESAMPLES,
    ClassFindings,
    Destructive,
    Wasteful,
    destructive,
    per_class,
    wasteful,
)
from shallowdeep.analysis.recorded import Recorded
from shallowdeep.analysis.trajectories import ClassPair, Trajectories, classes_confused, trajectories
from shallowdeep.analysis.trajectory_predictor import FOLDS, TrajectoryPredictor
from shallowdeep.documents import plain
from shallowdeep.errors import DataError
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.predictions import ExitPredictions


@dataclass(frozen=True)
class Findings:
    """What predictions show; no number is infinite or not a number.

    Attributes:
        samples: N.
        labelled: whether true labels are known; without, blocks that need them are None.
        classes: C names.
        exits: what each costs and achieves.
        cumulative_accuracy: share of samples that some exit has right.
        wasteful: right before the last exit.
        destructive: right early, wrong at the end.
        trajectories: kinds of paths that answers take from exit to exit.
        classes_confused: wrong answers that samples pass through, the commonest first.
        per_class: accuracy, waste and confusion of each class.
        confusion: how far exits disagree, on right and on wrong answers.
        error_indicators: how well each tells errors of the final exit, by name.
        best_indicator: the name of the one with the highest AUROC.
        answer_rule: what answering by another exit than the last would give; None without ``tune``.
        paper: the paper's claims beside what is found here.
        notes: what a reader should know besides, such as what could not be computed.
        warnings: those of the notes that make every figure doubtful, to be read first.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.zeros((2, 2, 2), np.float32)
        >>> logits[:, 0, 0] = logits[0, 1, 0] = logits[1, 1, 1] = 5  # the second image is right early, wrong at the end
        >>> predictions = shallowdeep.ExitPredictions(logits, np.array([0, 0]), np.array([0.5, 1.0]))
        >>> shallowdeep.analyze(predictions, resamples=0).destructive.share_of_errors
        1.0
    """

    samples: int
    labelled: bool
    classes: tuple[str, ...]
    exits: tuple[ExitFigures, ...]
    cumulative_accuracy: float | None
    wasteful: Wasteful | None
    destructive: Destructive | None
    trajectories: Trajectories
    classes_confused: tuple[ClassPair, ...] | None
    per_class: tuple[ClassFindings, ...] | None
    confusion: ConfusionLevels | None
    error_indicators: Mapping[str, Detection] | None
    best_indicator: str | None
    answer_rule: AnswerRuleFindings | None
    paper: tuple[Claim, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return all of it as one JSON document."""
        return json.dumps(plain(self), indent=2, allow_nan=False)


def findings_of(
    recorded: Recorded,
    *,
    tune: ExitPredictions | None = None,
    statistics: ConfusionStatistics | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Findings:
    """Return everything that can be said of the predictions; docs/concepts/overthinking.md explains each figure.

    Args:
        recorded: predictions of all exits, labelled or not.
        tune: NumPy predictions of the same network on other samples, with labels, to fit what is fitted.
        statistics: of confusion on training data; None leaves confusion as it is.
        resamples: for intervals; 0 for none.
        seed: of the resampling.

    Returns:
        Blocks that labels or several exits are needed for are None without, and ``notes`` says so.

    Raises:
        DataError: ``tune`` or ``statistics`` are of another network.
    """
    pred, labelled = recorded.predictions, recorded.labels is not None
    _check_same_network(pred, tune, statistics)
    notes = _notes(recorded, tune, statistics)
    warning = at_chance(pred, "these samples") if labelled else None
    warnings = () if warning is None else (warning,)
    right = pred.logits[-1].argmax(axis=-1) == pred.labels if labelled else None
    levels = confusion_scores(pred.logits, statistics) if pred.exits > 1 else None
    indicators, best = _indicators(pred, right, tune, notes, resamples=resamples, seed=seed)
    rule = None
    if labelled and tune is not None and pred.exits > 1:
        rule = evaluate_answer_rule(fit_answer_rule(tune), pred, resamples, seed)
    waste = wasteful(pred, resamples, seed) if labelled else None
    lost = destructive(pred, resamples, seed) if labelled else None
    confusion = confusion_levels(pred.logits, right, statistics)
    return Findings(
        samples=pred.samples,
        labelled=labelled,
        classes=recorded.class_names,
        exits=exit_figures(pred, recorded.exit_names, labelled=labelled),
        cumulative_accuracy=cumulative_accuracy(pred) if labelled else None,
        wasteful=waste,
        destructive=lost,
        trajectories=trajectories(pred.logits, pred.labels if labelled else None),
        classes_confused=classes_confused(pred, recorded.class_names) if labelled else None,
        per_class=per_class(pred, recorded.class_names, levels) if labelled else None,
        confusion=confusion,
        error_indicators=indicators,
        best_indicator=best,
        answer_rule=rule,
        paper=claims(waste, lost, indicators, confusion),
        notes=(*warnings, *notes),
        warnings=warnings,
    )


def _indicators(
    pred: ExitPredictions,
    right: NDArray[np.bool_] | None,
    tune: ExitPredictions | None,
    notes: list[str],
    *,
    resamples: int,
    seed: int,
) -> tuple[dict[str, Detection] | None, str | None]:
    """Return the figures of every indicator and the name of the best; adds to the notes what is missing and why."""
    if right is None:
        return None, None
    if right.all() or not right.any():
        word = "none" if right.all() else "all"
        notes.append(f"The final exit gets {word} of these samples wrong: error indicators have nothing to tell apart.")
        return None, None
    power, predictor = _fitted(tune, notes)
    scores = indicator_scores(pred.logits, power)
    if predictor is not None:
        scores["trajectory"] = predictor.scores(pred.logits)
    intervals = detection_intervals(scores, ~right, resamples, seed)
    found = {name: replace(detection(values, ~right), intervals=intervals[name]) for name, values in scores.items()}
    return found, max(found, key=lambda name: found[name].auroc)


def _fitted(tune: ExitPredictions | None, notes: list[str]) -> tuple[float, TrajectoryPredictor | None]:
    """Return the power of MaxLogit-pNorm and the trajectory predictor, as fitted on ``tune``."""
    if tune is None:
        return DEFAULT_POWER, None
    errors = tune.logits[-1].argmax(axis=-1) != tune.labels
    fewest = min(int(errors.sum()), int((~errors).sum()))
    power = best_power(tune.logits, errors) if fewest else DEFAULT_POWER
    if fewest < FOLDS:
        notes.append(f"No trajectory predictor: tune has {fewest} of errors or of right answers, {FOLDS} are needed.")
        return power, None
    return power, TrajectoryPredictor.fit(tune.logits, errors)


def _check_same_network(
    pred: ExitPredictions, tune: ExitPredictions | None, statistics: ConfusionStatistics | None
) -> None:
    if tune is not None and (tune.exits, tune.classes) != (pred.exits, pred.classes):
        raise DataError(
            f"Expected tune predictions of {pred.exits} exits and {pred.classes} classes, got {tune.exits} and "
            f"{tune.classes}"
        )
    if statistics is not None and statistics.exits != pred.exits:
        raise DataError(f"Expected confusion statistics of {pred.exits} exits, got {statistics.exits}")


def _notes(recorded: Recorded, tune: ExitPredictions | None, statistics: ConfusionStatistics | None) -> list[str]:
    """Return what readers should know besides the numbers."""
    pred = recorded.predictions
    notes = []
    if recorded.unread:
        notes.append(f"Arrays that mean nothing here were not read: {', '.join(recorded.unread)}.")
    if recorded.labels is None:
        notes.append("No labels: only costs, trajectories and confusion can be told, not who is right.")
    else:
        absent = [
            name
            for name, count in zip(recorded.class_names, np.bincount(pred.labels, minlength=pred.classes), strict=True)
            if not count
        ]
        if absent:
            shown = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")  # noqa: PLR2004 - enough to recognise
            notes.append(f"{len(absent)} of {pred.classes} classes have no sample: {shown}")
    if pred.exits == 1:
        notes.append("A single exit: there is no overthinking and no confusion to tell.")
    elif statistics is None:
        notes.append("Confusion is not normalised: there are no statistics of training data.")
    if recorded.labels is not None and tune is None:
        notes.append("No tune predictions: nothing is fitted, so no trajectory predictor and no answer rule.")
    return notes
