"""The two harms of overthinking: wasteful (right early, computed on) and destructive (right early, wrong at the end).

All figures follow from how many samples were first right at each exit and whether the final exit was right, so their
bootstrap intervals cost nothing.

Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.analysis.bootstrap import Floats, Intervals, intervals_of_counts
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import max_probability

RESAMPLES = 1000


@dataclass(frozen=True)
class Wasteful:
    """Figures of wasteful overthinking: right at some exit before the last.

    Attributes:
        share: of the samples, right at some exit before the last.
        and_final_right: share of the samples, right early and at the end.
        oracle_cost: mean relative cost if each sample stopped at its first right exit, or at the end if none is right.
        oracle_accuracy: fraction that some exit is right about.
        first_right: E counts of samples, by the first exit that is right.
        never_right: count of samples that no exit is right about.
        intervals: of the first four.
    """

    share: float
    and_final_right: float
    oracle_cost: float
    oracle_accuracy: float
    first_right: tuple[int, ...]
    never_right: int
    intervals: Intervals


@dataclass(frozen=True)
class Quartiles:
    """The middle half of some values.

    Attributes:
        low: the first quartile.
        median: the second.
        high: the third.
    """

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Destructive:
    """Figures of destructive overthinking: right at an earlier exit, wrong at the end.

    Attributes:
        errors: count of the final exit's.
        share_of_errors: fraction of them that an earlier exit had right; None without errors.
        chance: what `chance_level` gives for that; None without errors.
        chance_together: what `chance_level_together` gives; None without errors.
        accuracy_gain: fraction that an ideal stopping rule would add to the accuracy.
        last_right_at: E-1 counts of destructive samples, by the last early exit that was right.
        confidence_when_right: max softmax at that exit; None without destructive samples.
        final_confidence: max softmax of the same samples at the final exit; None without them.
        intervals: of ``share_of_errors`` and ``accuracy_gain``.
    """

    errors: int
    share_of_errors: float | None
    chance: float | None
    chance_together: float | None
    accuracy_gain: float
    last_right_at: tuple[int, ...]
    confidence_when_right: Quartiles | None
    final_confidence: Quartiles | None
    intervals: Intervals


@dataclass(frozen=True)
class ClassFindings:
    """Overthinking in one class; what a class without samples or errors has no value for is None.

    Attributes:
        class_: its name.
        samples: count of those of the class.
        accuracy: fraction, of the final exit.
        wasteful: fraction of the class's samples that an exit before the last has right; None for a single exit.
        destructive: fraction of the class's errors that an earlier exit had right; None for a single exit.
        oracle_cost: mean relative cost of stopping at the first right exit; None for a single exit.
        mean_confusion: over the class's samples; None where confusion is not known.
    """

    class_: str
    samples: int
    accuracy: float | None
    wasteful: float | None
    destructive: float | None
    oracle_cost: float | None
    mean_confusion: float | None


def first_right(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first exit that is right about each sample, E where none is.

    Args:
        correct: (E, N) bool.

    Returns:
        (N,) integers in [0, E].
    """
    exits = correct.shape[0]
    found: NDArray[np.int64] = np.where(correct.any(axis=0), correct.argmax(axis=0), exits)
    return found


def last_early_right(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the last exit before the final one that is right about each sample, -1 where none is.

    Args:
        correct: (E, N) bool.

    Returns:
        (N,) integers in [-1, E-2].
    """
    early = correct[:-1]
    if not len(early):
        return np.full(correct.shape[1], -1)
    found: NDArray[np.int64] = np.where(early.any(axis=0), len(early) - 1 - early[::-1].argmax(axis=0), -1)
    return found


def cross_table(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many samples were first right at each exit (or never), and whether the final exit was right.

    Args:
        correct: (E, N) bool.

    Returns:
        (E+1, 2) counts; row E holds those that no exit was right about, column 1 those that the final exit was.
    """
    exits = correct.shape[0]
    cells = 2 * first_right(correct) + correct[-1]
    return np.bincount(cells, minlength=2 * (exits + 1)).reshape(exits + 1, 2)


def wasteful(pred: ExitPredictions, resamples: int = RESAMPLES, seed: int = 0) -> Wasteful | None:
    """Return the figures of wasteful overthinking; None for a single exit.

    Args:
        pred: predictions of all exits on one split.
        resamples: for intervals; 0 for none.
        seed: of the resampling.
    """
    if pred.exits == 1:
        return None
    table = cross_table(to_numpy(correctness(pred)))
    costs = np.asarray(pred.costs)

    def figures(counts: Floats) -> Mapping[str, Floats]:
        return _wasteful_figures(counts.reshape(len(counts), -1, 2), costs)

    values = {name: float(value[0]) for name, value in figures(table.reshape(1, -1).astype(np.float64)).items()}
    return Wasteful(
        **values,
        first_right=tuple(table.sum(axis=1)[:-1].tolist()),
        never_right=int(table[-1].sum()),
        intervals=intervals_of_counts(table.ravel(), figures, resamples, seed),
    )


def destructive(pred: ExitPredictions, resamples: int = RESAMPLES, seed: int = 0) -> Destructive | None:
    """Return the figures of destructive overthinking; None for a single exit.

    Args:
        pred: predictions of all exits on one split.
        resamples: for intervals; 0 for none.
        seed: of the resampling.
    """
    if pred.exits == 1:
        return None
    correct = to_numpy(correctness(pred))
    table = cross_table(correct)
    errors = int(table[:, 0].sum())

    def figures(counts: Floats) -> Mapping[str, Floats]:
        return _destructive_figures(counts.reshape(len(counts), -1, 2))

    values = {name: float(value[0]) for name, value in figures(table.reshape(1, -1).astype(np.float64)).items()}
    lost = np.flatnonzero(correct[:-1].any(axis=0) & ~correct[-1])
    last = last_early_right(correct[:, lost])
    logits = to_numpy(pred.logits)
    return Destructive(
        errors=errors,
        share_of_errors=values["share_of_errors"] if errors else None,
        chance=chance_level(pred) if errors else None,
        chance_together=chance_level_together(pred) if errors else None,
        accuracy_gain=values["accuracy_gain"],
        last_right_at=tuple(np.bincount(last, minlength=pred.exits - 1).tolist()),
        confidence_when_right=quartiles(max_probability(logits[last, lost])),
        final_confidence=quartiles(max_probability(logits[-1, lost])),
        intervals=intervals_of_counts(table.ravel(), figures, resamples, seed),
    )


def chance_level(pred: ExitPredictions) -> float:
    """Return the share of the final exit's errors that early exits would have right with answers shuffled among them.

    Weak exits that answer at random are right now and then. Were each exit's answers dealt out anew among the errors,
    one with label y would find exit k right with the share of y among that exit's answers there; the exits being dealt
    independently, some exit is right with ``1 - prod_k (1 - share_k(y))``.

    Args:
        pred: predictions of all exits, with at least one error of the last.

    Returns:
        A fraction: the expectation over all shuffles, exactly.
    """
    answers = to_numpy(pred.logits).argmax(axis=-1)
    labels = to_numpy(pred.labels)
    errors = answers[-1] != labels
    missed = np.ones(pred.classes)
    for k in range(pred.exits - 1):
        missed *= 1 - np.bincount(answers[k, errors], minlength=pred.classes) / errors.sum()
    return float(np.mean(1 - missed[labels[errors]]))


def chance_level_together(pred: ExitPredictions) -> float:
    """Return `chance_level` where each error is dealt the answers of another as they are, all early exits together.

    Exits agree with one another more than independent ones would, so this lies lower: it keeps that agreement.

    Args:
        pred: predictions of all exits, with at least one error of the last.

    Returns:
        A fraction: the expectation over all shuffles, exactly.
    """
    answers = to_numpy(pred.logits).argmax(axis=-1)
    labels = to_numpy(pred.labels)
    errors = answers[-1] != labels
    count = int(errors.sum())
    given = np.zeros((count, pred.classes), dtype=np.bool_)  # which classes some early exit answers
    for early in answers[:-1, errors]:
        given[np.arange(count), early] = True
    return float(np.mean(given.mean(axis=0)[labels[errors]]))


def per_class(
    pred: ExitPredictions, names: Sequence[str], confusions: Floats | None = None
) -> tuple[ClassFindings, ...]:
    """Return overthinking class by class, in the order of the names.

    Args:
        pred: predictions of all exits on one split.
        names: C of them.
        confusions: (N,), or None for none.
    """
    correct, labels = to_numpy(correctness(pred)), to_numpy(pred.labels)
    costs = np.asarray(pred.costs)
    rows = []
    for label, name in enumerate(names):
        mine = labels == label
        table = cross_table(correct[:, mine])[None].astype(np.float64)
        found, one_exit = int(mine.sum()), pred.exits == 1
        lost, waste = _destructive_figures(table), _wasteful_figures(table, costs)
        rows.append(
            ClassFindings(
                class_=name,
                samples=found,
                accuracy=float(correct[-1, mine].mean()) if found else None,
                wasteful=None if one_exit else _number(waste["share"]),
                destructive=None if one_exit else _number(lost["share_of_errors"]),
                oracle_cost=None if one_exit else _number(waste["oracle_cost"]),
                mean_confusion=float(confusions[mine].mean()) if confusions is not None and found else None,
            )
        )
    return tuple(rows)


def quartiles(values: NDArray[Any]) -> Quartiles | None:
    """Return the quartiles of some values (n,); None without any."""
    if not len(values):
        return None
    low, median, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return Quartiles(float(low), float(median), float(high))


def _wasteful_figures(table: Floats, costs: Floats) -> dict[str, Floats]:
    """Return figures (R,) of tables (R, E+1, 2), not a number where a table is empty."""
    samples = _above_zero(table.sum(axis=(1, 2)))
    early = table[:, :-2].sum(axis=1)  # (R, 2)
    cost_of_first = np.append(costs, costs[-1])  # where none is right all is computed
    return {
        "share": early.sum(axis=1) / samples,
        "and_final_right": early[:, 1] / samples,
        "oracle_cost": table.sum(axis=2) @ cost_of_first / samples,
        "oracle_accuracy": table[:, :-1].sum(axis=(1, 2)) / samples,
    }


def _destructive_figures(table: Floats) -> dict[str, Floats]:
    """Return figures (R,) of tables (R, E+1, 2), not a number where a table has no error or is empty."""
    lost = table[:, :-2, 0].sum(axis=1)
    errors = _above_zero(table[:, :, 0].sum(axis=1))
    return {"share_of_errors": lost / errors, "accuracy_gain": lost / _above_zero(table.sum(axis=(1, 2)))}


def _above_zero(totals: Floats) -> Floats:
    """Return the totals with not a number for 0, so that shares of nothing are no number."""
    return np.where(totals > 0, totals, np.nan)


def _number(values: Floats) -> float | None:
    """Return the one value, or None where it is not a number."""
    return float(values[0]) if np.isfinite(values[0]) else None
