"""Which samples show best how a network overthinks.

Ties are broken by place in the split, so the same predictions always give the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.analysis.overthinking import first_right, last_early_right
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import max_probability

Indices = NDArray[np.int64]

LARGEST_SHARE = 3  # one class has at most a third of the destructive samples shown
_LATE_EXITS = 2  # the last so many are where complex samples are first right


@dataclass(frozen=True, eq=False)
class SimpleAndComplex:
    """Samples of one class that are understood at once, and samples of it that take the whole network.

    Attributes:
        label: the class; None where no class has both kinds.
        simple: first right at the first exit, surest there first; integers.
        complex: first right at one of the last exits, latest first; integers.
    """

    label: int | None
    simple: Indices
    complex: Indices


def destructive_samples(pred: ExitPredictions, count: int) -> Indices:
    """Return samples that an early exit had right and the final one has wrong, surest first.

    How sure: the largest probability at the last early exit that was right. At most a third of ``count`` (at least one)
    are of one class, so that a class that goes wrong often does not fill the gallery.

    Args:
        pred: predictions of all exits on one split.
        count: how many at most.

    Returns:
        (n,) integers in [0, N); n may be below ``count`` even where more of a class could be had.
    """
    correct, labels, sure = _arrays(pred)
    right_at = last_early_right(correct)
    found = np.flatnonzero((right_at >= 0) & ~correct[-1])
    found = _surest_first(found, sure[right_at[found], found])
    share = max(1, count // LARGEST_SHARE)
    return found[_rank_in_class(labels[found]) < share][:count]


def wasteful_samples(pred: ExitPredictions, count: int) -> Indices:
    """Return samples that the first exit and the final one have right, surest at the first exit first.

    The surest of each class come before the second of any.

    Args:
        pred: predictions of all exits on one split.
        count: how many at most.

    Returns:
        (n,) integers in [0, N); none for a single exit.
    """
    correct, labels, sure = _arrays(pred)
    found = np.flatnonzero(correct[0] & correct[-1]) if pred.exits > 1 else np.empty(0, dtype=np.int64)
    found = _surest_first(found, sure[0, found])
    return found[np.argsort(_rank_in_class(labels[found]), kind="stable")][:count]


def simple_and_complex(pred: ExitPredictions, count: int) -> SimpleAndComplex:
    """Return simple and complex samples of the class that has most of both: of the smaller number, then of the larger.

    Args:
        pred: predictions of all exits on one split.
        count: how many of each at most.

    Returns:
        Samples first right at the first exit, and samples first right at one of the last two (never the first).

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 5, whose figure sets such images of one
    class side by side; which exits are late is ours.
    """
    correct, labels, sure = _arrays(pred)
    first = first_right(correct)
    simple = first == 0
    complex_ = (first >= max(1, pred.exits - _LATE_EXITS)) & (first < pred.exits)
    totals = np.stack([np.bincount(labels[kind], minlength=pred.classes) for kind in (simple, complex_)])
    label = int(np.lexsort((-totals.max(axis=0), -totals.min(axis=0)))[0])
    if not totals[:, label].all():
        return SimpleAndComplex(None, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    easy, late = (np.flatnonzero(kind & (labels == label)) for kind in (simple, complex_))
    late = _surest_first(late, sure[first[late], late])
    return SimpleAndComplex(
        label,
        _surest_first(easy, sure[0, easy])[:count],
        late[np.argsort(-first[late], kind="stable")][:count],
    )


def _arrays(pred: ExitPredictions) -> tuple[NDArray[np.bool_], Indices, NDArray[Any]]:
    """Which exits are right (E, N), labels (N,) and largest probabilities (E, N)."""
    sure = to_numpy(max_probability(pred.logits))
    return to_numpy(correctness(pred)), to_numpy(pred.labels).astype(np.int64), sure


def _surest_first(samples: Indices, sure: NDArray[Any]) -> Indices:
    """The samples (n,) in falling order of ``sure`` (n,)."""
    return samples[np.argsort(-sure, kind="stable")]


def _rank_in_class(labels: Indices) -> Indices:
    """How many before each entry have its label, (n,)."""
    ranks = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        mine = labels == label
        ranks[mine] = np.arange(mine.sum())
    return ranks
