"""How confusion is spread over right and wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.signals import max_probability

BINS = 40
_OUTERMOST = 0.001  # share of the samples beyond the histogram's ends, counted in its last bins


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
) -> dict[str, Any] | None:
    """Return levels, histogram and the paper's counts.

    Args:
        logits: (E, N, C) floating, unnormalised.
        right: (N,) whether the final exit is; None where that is not known.
        statistics: of training data; None for values that are not normalised.

    Returns:
        ``normalisation`` (``mean``, ``std``, ``samples``, ``data``, or None), ``mean``, ``right_mean``, ``wrong_mean``,
        ``histogram`` (``edges``, ``all``, ``right``, ``wrong``), and counts: ``right_above_wrong_mean`` (right answers
        more confused than the wrong ones' mean), ``wrong_below_right_mean``, and the same of the final softmax
        confidence, mirrored: ``softmax_right_below_wrong_mean``, ``softmax_wrong_above_right_mean``. What needs labels,
        or right and wrong answers, is None without; all is None for a single exit.
    """
    if len(logits) == 1:
        return None
    values = confusion_scores(logits, statistics)
    last = len(logits) - 1
    low, high = np.quantile(values, [_OUTERMOST, 1 - _OUTERMOST])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    inside = np.clip(values, edges[0], edges[-1])

    def histogram(chosen: NDArray[np.bool_] | slice) -> list[int]:
        counts: list[int] = np.histogram(inside[chosen], edges)[0].tolist()
        return counts

    found: dict[str, Any] = {
        "normalisation": None,
        "mean": float(values.mean()),
        "right_mean": None,
        "wrong_mean": None,
        "histogram": {"edges": edges.tolist(), "all": histogram(slice(None)), "right": None, "wrong": None},
        "right_above_wrong_mean": None,
        "wrong_below_right_mean": None,
        "softmax_right_below_wrong_mean": None,
        "softmax_wrong_above_right_mean": None,
    }
    if statistics is not None:
        mean, spread = statistics.at(last, range(last))
        found["normalisation"] = {"mean": mean, "std": spread, "samples": statistics.samples, "data": "train"}
    if right is None:
        return found
    wrong = ~right
    found["histogram"].update(right=histogram(right), wrong=histogram(wrong))
    found["right_mean"] = float(values[right].mean()) if right.any() else None
    found["wrong_mean"] = float(values[wrong].mean()) if wrong.any() else None
    if right.any() and wrong.any():
        sure = np.asarray(max_probability(logits[-1]), dtype=np.float64)
        found["right_above_wrong_mean"] = int((values[right] > values[wrong].mean()).sum())
        found["wrong_below_right_mean"] = int((values[wrong] < values[right].mean()).sum())
        found["softmax_right_below_wrong_mean"] = int((sure[right] < sure[wrong].mean()).sum())
        found["softmax_wrong_above_right_mean"] = int((sure[wrong] > sure[right].mean()).sum())
    return found
