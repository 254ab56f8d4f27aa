"""How well a score tells errors from right answers: AUROC, FPR at 95 % TPR, AURC and AUGRC.

An error is the positive, and a larger score means an error is likelier. Samples with equal scores count as if in random
order: what is returned is the expectation over these orders. The same holds for samples that a resample draws twice.

Source: Hendrycks and Gimpel, ICLR 2017 (AUROC); Geifman and El-Yaniv, "SelectiveNet", ICML 2019 (AURC); Traub et al.,
"Overcoming common flaws in the evaluation of selective classification systems", NeurIPS 2024 (AUGRC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.analysis.bootstrap import Floats, Intervals, interval, weights
from shallowdeep.errors import DataError

DETECTION_METRICS = ("auroc", "fpr95", "aurc", "augrc")
TRUE_POSITIVES = 0.95


@dataclass(frozen=True)
class Detection:
    """How well one score tells errors from right answers.

    Attributes:
        auroc: area under the ROC curve; larger is better, 0.5 is chance.
        fpr95: share of the right answers flagged where 95 % of the errors are; smaller is better.
        aurc: mean error rate among the samples trusted most, over all coverages; a fraction, smaller is better.
        augrc: mean over all coverages of errors trusted, as a share of all samples; smaller is better.
        intervals: 95 % bootstrap intervals of these figures.
    """

    auroc: float
    fpr95: float
    aurc: float
    augrc: float
    intervals: Intervals = field(default_factory=dict)


def detection(scores: ArrayLike, errors: ArrayLike) -> Detection:
    """Return the four figures of one score, without intervals.

    Args:
        scores: (N,) floating, larger = likelier an error.
        errors: (N,) bool, whether each sample is answered wrongly.

    Raises:
        DataError: shapes do not go together, scores that are not finite, or errors that are all alike.
    """
    ranked = Ranking(scores, errors)
    figures = {name: float(values[0]) for name, values in ranked.figures(np.ones((1, ranked.samples))).items()}
    return Detection(figures["auroc"], figures["fpr95"], figures["aurc"], figures["augrc"])


def detection_intervals(
    scores: Mapping[str, ArrayLike], errors: ArrayLike, resamples: int, seed: int = 0
) -> dict[str, Intervals]:
    """Return bootstrap intervals of the figures of several scores, all on the same resamples.

    Args:
        scores: (N,) each, by name.
        errors: (N,) bool.
        resamples: R; 0 for none.
        seed: of the draws.

    Returns:
        By name of the score.

    Raises:
        DataError: as `detection`.
    """
    ranked = {name: Ranking(values, errors) for name, values in scores.items()}
    collected: dict[str, dict[str, list[Floats]]] = {name: {m: [] for m in DETECTION_METRICS} for name in ranked}
    samples = len(np.asarray(errors))
    for drawn in weights(samples, resamples, seed):
        for name, ranking in ranked.items():
            for metric, values in ranking.figures(drawn).items():
                collected[name][metric].append(values)
    return {name: _bounds(by_metric) for name, by_metric in collected.items()}


class Ranking:
    """Samples in the order of a score, the most trusted first, ready for any weighting.

    Args:
        scores: (N,) floating, larger = likelier an error.
        errors: (N,) bool.

    Raises:
        DataError: as `detection`.
    """

    def __init__(self, scores: ArrayLike, errors: ArrayLike) -> None:
        values, wrong = np.asarray(scores), np.asarray(errors, dtype=np.bool_)
        if values.ndim != 1 or values.shape != wrong.shape:
            raise DataError(f"Expected scores and errors of one shape (samples,), got {values.shape}, {wrong.shape}")
        if not np.isfinite(values).all():
            raise DataError("Expected finite scores, got others")
        if wrong.all() or not wrong.any():
            raise DataError(f"Expected right and wrong answers, got {int(wrong.sum())} wrong of {len(wrong)}")
        self.samples = len(values)
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of groups of equal scores
        self._distinct = len(self._starts) == self.samples
        self._wrong = wrong[self._order]
        self._harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, self.samples + 1)))

    def figures(self, counts: NDArray[Any]) -> dict[str, Floats]:
        """Return the figures where each sample counts so often.

        Args:
            counts: (R, N) whole numbers, each row adding up to N, samples in their original order.

        Returns:
            (R,) by name; not a number for a row in which no error or no right answer is drawn.
        """
        ordered = np.take(counts, self._order, axis=1).astype(np.float64)
        size, wrong = self._grouped(ordered), self._grouped(ordered * self._wrong)  # (R, G)
        total, errors = _running(size), _running(wrong)  # (R, G+1), before the first group and after each
        before, wrong_before = total[:, :-1], errors[:, :-1]
        right_before = before - wrong_before
        wrongs = _or_nan(errors[:, -1])
        rights = _or_nan(total[:, -1] - errors[:, -1])
        steps = np.diff(self._harmonic[total.astype(np.int64)], axis=1)
        each = wrong / np.maximum(size, 1)
        flagged = wrongs[:, None] - wrong_before >= TRUE_POSITIVES * wrongs[:, None]  # from here on up the ranking
        place = np.maximum(flagged.sum(axis=1) - 1, 0)  # true for a run from the first group on
        passed = np.take_along_axis(right_before, place[:, None], axis=1)[:, 0]
        undecided = 0 * (wrongs + rights)  # not a number where there is no error, or no right answer
        n = self.samples + undecided
        return {
            "auroc": _dot(wrong, right_before + (size - wrong) / 2) / (wrongs * rights),
            "fpr95": (rights - passed) / rights + undecided,
            "aurc": (_dot(wrong_before, steps) + _dot(each, size - before * steps)) / n,
            "augrc": (_dot(wrong_before, size) + _dot(wrong, size + 1) / 2) / n**2,
        }

    def _grouped(self, values: Floats) -> Floats:
        """Return sums over groups of equal scores, (R, G)."""
        if self._distinct:
            return values
        return np.add.reduceat(values, self._starts, axis=1)


def _running(values: Floats) -> Floats:
    """Return running sums (R, G+1) of values (R, G), from 0."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _dot(first: Floats, second: Floats) -> Floats:
    """Return the sums of products, row by row."""
    return np.asarray(np.einsum("rg,rg->r", first, second))


def _or_nan(totals: Floats) -> Floats:
    """Return totals with not a number for 0."""
    return np.where(totals > 0, totals, np.nan)


def _bounds(by_metric: Mapping[str, Sequence[Floats]]) -> Intervals:
    """Return intervals of what resamples gave."""
    found = {metric: interval(np.concatenate(values)) for metric, values in by_metric.items() if values}
    return {metric: bounds for metric, bounds in found.items() if bounds is not None}
