"""How confusion is spread over right and wrong answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.histogram import shared_histograms
from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.signals import max_probability


@dataclass(frozen=True)
class Normalisation:
    """What confusion is z-scored by.

    Attributes:
        mean: of confusion on these data.
        std: its standard deviation.
        samples: count of them.
        data: the split they are of.
    """

    mean: float
    std: float
    samples: int
    data: str


@dataclass(frozen=True)
class ConfusionHistogram:
    """Counts of samples by their confusion.

    Attributes:
        edges: of the bins, rising; z-scores where confusion is normalised.
        all: counts of all samples, one for each bin.
        right: of those that the final exit has right; None without labels.
        wrong: of the others; None without labels.
    """

    edges: tuple[float, ...]
    all: tuple[int, ...]
    right: tuple[int, ...] | None
    wrong: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class ConfusionLevels:
    """How confusion is spread; what needs labels, or right and wrong answers, is None without.

    Attributes:
        normalisation: what values are z-scored by; None for values as they are.
        mean: over all samples.
        right_mean: over the samples that the final exit has right.
        wrong_mean: over the others.
        histogram: of all samples, and of these two groups.
        right_above_wrong_mean: count of right answers more confused than the mean of the wrong ones.
        wrong_below_right_mean: count of wrong answers less confused than the mean of the right ones.
        softmax_right_below_wrong_mean: count of right answers with less final softmax confidence than the mean of the
            wrong ones.
        softmax_wrong_above_right_mean: count of wrong answers with more than the mean of the right ones.
    """

    normalisation: Normalisation | None
    mean: float
    right_mean: float | None = None
    wrong_mean: float | None = None
    histogram: ConfusionHistogram
    right_above_wrong_mean: int | None = None
    wrong_below_right_mean: int | None = None
    softmax_right_below_wrong_mean: int | None = None
    softmax_wrong_above_right_mean: int | None = None


def confusion_scores(logits: NDArray[Any], statistics: ConfusionStatistics | None) -> NDArray[np.float64]:
    """Return confusion at the end, (N,), z-scored where statistics are given; logits (E, N, C)."""
    values = np.asarray(confusion(logits), dtype=np.float64)
    if statistics is None:
        return values
    last = len(logits) - 1
    scores: NDArray[np.float64] = statistics.normalised(values, last, range(last))
    return scores


def confusion_levels(
    logits: NDArray[Any], right: NDArray[np.bool_] | None, statistics: ConfusionStatistics | None
) -> ConfusionLevels | None:
    """Return levels, histogram and the paper's counts; None for a single exit.

    Args:
        logits: (E, N, C) floating, unnormalised.
        right: (N,) whether the final exit is; None where that is not known.
        statistics: of training data; None for values that are not normalised.
    """
    if len(logits) == 1:
        return None
    values = confusion_scores(logits, statistics)
    found = ConfusionLevels(
        normalisation=None if statistics is None else _normalisation(statistics, len(logits) - 1),
        mean=float(values.mean()),
        histogram=_histogram(values, right),
    )
    if right is None:
        return found
    wrong = ~right
    found = replace(
        found,
        right_mean=float(values[right].mean()) if right.any() else None,
        wrong_mean=float(values[wrong].mean()) if wrong.any() else None,
    )
    if right.all() or wrong.all():
        return found
    sure = np.asarray(max_probability(logits[-1]), dtype=np.float64)
    return replace(
        found,
        right_above_wrong_mean=int((values[right] > values[wrong].mean()).sum()),
        wrong_below_right_mean=int((values[wrong] < values[right].mean()).sum()),
        softmax_right_below_wrong_mean=int((sure[right] < sure[wrong].mean()).sum()),
        softmax_wrong_above_right_mean=int((sure[wrong] > sure[right].mean()).sum()),
    )


def _normalisation(statistics: ConfusionStatistics, last: int) -> Normalisation:
    mean, spread = statistics.at(last, range(last))
    return Normalisation(mean, spread, statistics.samples, "train")


def _histogram(values: NDArray[np.float64], right: NDArray[np.bool_] | None) -> ConfusionHistogram:
    """Return the histogram of all samples and, where labels are known, of right and wrong answers."""
    if right is None:
        found = shared_histograms([values])
        return ConfusionHistogram(found.edges, all=found.counts[0], right=None, wrong=None)
    found = shared_histograms([values[right], values[~right]])
    of_right, of_wrong = found.counts
    both = tuple(a + b for a, b in zip(of_right, of_wrong, strict=True))
    return ConfusionHistogram(found.edges, all=both, right=of_right, wrong=of_wrong)
