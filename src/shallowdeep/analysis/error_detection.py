"""How well a score tells errors from right answers: AUROC, FPR at 95 % TPR, AURC and AUGRC.

An error is the positive, and a larger score means an error is likelier. Samples with equal scores count as if in random
order: what is returned is the expectation over these orders. The same holds for samples that a resample draws twice.

Source: Hendrycks and Gimpel, ICLR 2017 (AUROC); Geifman and El-Yaniv, "SelectiveNet", ICML 2019 (AURC); Traub et al.,
"Overcoming common flaws in the evaluation of selective classification systems", NeurIPS 2024 (AUGRC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.analysis.bootstrap import Floats, interval, weights
from shallowdeep.errors import DataError

METRICS = ("auroc", "fpr95", "aurc", "augrc")
TRUE_POSITIVES = 0.95


def detection(scores: ArrayLike, errors: ArrayLike) -> dict[str, float]:
    """Return the four figures of one score.

    Args:
        scores: (N,) floating, larger = likelier an error.
        errors: (N,) bool, whether each sample is answered wrongly.

    Returns:
        ``auroc`` (larger is better; .5 is chance), ``fpr95`` (share of the right answers flagged where 95 % of the
        errors are; smaller is better), ``aurc`` (mean error rate among the samples trusted most, over all coverages)
        and ``augrc`` (mean over all coverages of errors trusted, as a share of all samples); the latter two as
        fractions, smaller is better.

    Raises:
        DataError: shapes do not go together, scores that are not finite, or errors that are all alike.
    """
    ranked = Ranking(scores, errors)
    return {name: float(values[0]) for name, values in ranked.figures(np.ones((1, ranked.samples))).items()}


def detection_intervals(
    scores: Mapping[str, ArrayLike], errors: ArrayLike, resamples: int, seed: int = 0
) -> dict[str, dict[str, list[float]]]:
    """Return bootstrap intervals of the figures of several scores, all on the same resamples.

    Args:
        scores: (N,) each, by name.
        errors: (N,) bool.
        resamples: R; 0 for none.
        seed: of the draws.

    Returns:
        By name of the score and of the figure, [low, high].

    Raises:
        DataError: as `detection`.
    """
    ranked = {name: Ranking(values, errors) for name, values in scores.items()}
    collected: dict[str, dict[str, list[Floats]]] = {name: {m: [] for m in METRICS} for name in ranked}
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
        self._wrong = wrong[self._order]
        self._harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, self.samples + 1)))

    def figures(self, counts: NDArray[Any]) -> dict[str, Floats]:
        """Return the figures where each sample counts so often.

        Args:
            counts: (R, N) whole numbers, each row adding up to N, samples in their original order.

        Returns:
            (R,) by name; not a number for a row in which no error or no right answer is drawn.
        """
        ordered = counts[:, self._order].astype(np.float64)
        size = self._grouped(ordered)  # (R, G)
        wrong = self._grouped(ordered * self._wrong)
        right = size - wrong
        until, wrong_until, right_until = (np.cumsum(values, axis=1) for values in (size, wrong, right))
        before, wrong_before, right_before = until - size, wrong_until - wrong, right_until - right
        wrongs, rights = (_or_nan(values[:, -1]) for values in (wrong_until, right_until))
        steps = self._harmonic[until.astype(np.int64)] - self._harmonic[before.astype(np.int64)]
        each = wrong / np.maximum(size, 1)
        flagged = wrongs[:, None] - wrong_before >= TRUE_POSITIVES * wrongs[:, None]  # from here on up the ranking
        place = np.maximum(flagged.sum(axis=1) - 1, 0)  # true for a run from the first group on
        passed = np.take_along_axis(right_before, place[:, None], axis=1)[:, 0]
        n = self.samples
        return {
            "auroc": (wrong * (right_before + right / 2)).sum(axis=1) / (wrongs * rights),
            "fpr95": (rights - passed) / rights,
            "aurc": (wrong_before * steps + each * (size - before * steps)).sum(axis=1) / n,
            "augrc": (wrong_before * size + wrong * (size + 1) / 2).sum(axis=1) / n**2,
        }

    def _grouped(self, values: Floats) -> Floats:
        """Return sums over groups of equal scores, (R, G)."""
        if len(self._starts) == self.samples:
            return values
        return np.add.reduceat(values, self._starts, axis=1)


def _or_nan(totals: Floats) -> Floats:
    """Return totals with not a number for 0."""
    return np.where(totals > 0, totals, np.nan)


def _bounds(by_metric: Mapping[str, Sequence[Floats]]) -> dict[str, list[float]]:
    """Return intervals of what resamples gave."""
    found = {metric: interval(np.concatenate(values)) for metric, values in by_metric.items() if values}
    return {metric: bounds for metric, bounds in found.items() if bounds is not None}
