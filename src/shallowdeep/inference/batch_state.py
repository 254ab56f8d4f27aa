"""One batch on its way through the exits: what is decided, and what is remembered of those still there.

The steps are few and small, since at batch 1 each array operation costs about as much as a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from array_api_compat import device

from shallowdeep.exits.arrays import Array, namespace_of
from shallowdeep.exits.confusion import ConfusionScan, ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.signals import scan_of, softmax
from shallowdeep.inference.segments import Segment


class Answers(NamedTuple):
    """What an engine says of N images, in input order; arrays of the backend's library.

    Attributes:
        labels: (N,) integers in [0, C).
        confidences: (N,) float32, of the answer, by the policy's signal.
        exits: (N,) integers, where each stopped.
        relative_costs: (N,) float32, of getting there; the backbone's is 1.
        answered_by: (N,) integers, whose answer it is; differs from ``exits`` under ``most-confident`` only.
        forced: (N,) bool, stopped by ``max_relative_cost`` without being confident.
        confusions: (N,) float32, how far the exits in use before it disagree with the one where each stopped; z-scored
            where statistics of training data are known. Not a number at the first exit in use, where there is none
            before; None where it was not asked for.
        abstained: (N,) bool, whether the answer is too doubtful to be used; None for a policy that withholds none.
        probabilities: (N, C) float32, of all classes at the exit that answered, as the policy sees it: the softmax of
            its logits over its temperature; under the signal ``ensemble`` the ensemble's up to there. The label's is
            the largest. None where it was not asked for.
    """

    labels: Array
    confidences: Array
    exits: Array
    relative_costs: Array
    answered_by: Array
    forced: Array
    confusions: Array | None = None
    abstained: Array | None = None
    probabilities: Array | None = None


def joined(parts: Sequence[Answers]) -> Answers:
    """Return the answers of batches that follow each other as those of one batch.

    Args:
        parts: at least one.
    """
    xp = namespace_of(parts[0].labels)
    columns = zip(*parts, strict=True)
    return Answers(*(None if values[0] is None else xp.concat(list(values)) for values in columns))


class Watch:
    """Confusion of one batch, exit by exit, as it is to be reported.

    Args:
        in_use: exits in use, in turn.
        statistics: of training data, for z-scores; None for values as they are.
    """

    def __init__(self, in_use: Sequence[int], statistics: ConfusionStatistics | None) -> None:
        self._in_use, self._statistics = in_use, statistics
        self._scan = ConfusionScan()
        self.keep = self._scan.keep

    def step(self, exit_: int, logits: Array) -> Array | None:
        """Confusion (n,) after an exit in use; None at the first."""
        values = self._scan.step(logits)
        if values is None or self._statistics is None:
            return values
        return self._statistics.normalised(values, exit_, self._in_use)


class BatchState:
    """Follows one batch from exit to exit.

    Samples are *present* while they are in the batch that runs, and *pending* until they are answered; those answered
    stay present until `compact`.

    Args:
        policy: when to stop.
        segments: in turn, the exits they lead to.
        images: (N, ...); gives the number of samples, the array library and the device.
        watch: where confusion is asked for.
        classes: how many there are, where their probabilities are asked for; None where they are not.

    Attributes:
        pending: how many are not answered yet.
    """

    def __init__(
        self,
        policy: Policy,
        segments: Sequence[Segment],
        images: Array,
        watch: Watch | None = None,
        classes: int | None = None,
    ) -> None:
        xp, place = namespace_of(images), device(images)
        floating = images.dtype if xp.isdtype(images.dtype, "real floating") else xp.float32
        self._policy, self._segments, self._xp, self._device = policy, segments, xp, place
        self._scan = scan_of(policy.signal, len(policy.in_use), policy.ensemble)
        self.pending = len(images)
        self._rows: Array | None = None  # (m,) places in the batch of the pending; None while all are, in order
        self._at: Array | None = None  # (m,) places of the pending among the present; None while these are the same
        self._best: tuple[Array, ...] | None = None  # confidence, label, exit, each (m,); scores (m, C) if asked for
        self._labels = xp.zeros(self.pending, dtype=xp.int64, device=place)
        self._confidences = xp.zeros(self.pending, dtype=floating, device=place)
        self._places = xp.zeros(self.pending, dtype=xp.int64, device=place)  # of the segment after which each stopped
        self._by: Array | None = None
        self._forced: Array | None = None
        self._watch = watch
        self._confusions: Array | None = None
        if watch is not None:
            self._confusions = xp.full(self.pending, float("nan"), dtype=floating, device=place)
        self._scored = classes is not None
        self._scores: Array | None = None  # (N, C) of the exit that answered; made when C is known
        if classes is not None and not self.pending:
            self._scores = xp.zeros((0, classes), dtype=floating, device=place)

    def step(self, number: int, logits: Array) -> int:
        """Take an exit's logits (n, C) of those present; returns how many are still open.

        Waits once for the device, where the logits are on one.
        """
        xp, policy = self._xp, self._policy
        exit_ = self._segments[number].exit
        temperature = policy.temperature_at(exit_)
        confidence, scores = self._scan.step(logits if temperature == 1 else logits / temperature)
        confused = None if self._watch is None else self._watch.step(exit_, logits)
        if self._at is not None:
            confidence, scores = confidence[self._at], scores[self._at]
            confused = None if confused is None else confused[self._at]
        last = number == len(self._segments) - 1
        final = exit_ == policy.exits - 1
        sure = None if final else confidence >= float(np.float32(policy.threshold_at(exit_)))
        if self._policy.fallback == "most-confident":
            self._note_best(confidence, scores, exit_)
        if last:
            self._write(number, None, confidence, scores, sure)
            self._note_confusion(None, confused)
            self.pending = 0
            return 0
        leaving = int(xp.count_nonzero(sure))  # the one wait for the device at this exit
        if leaving == self.pending:
            self._write(number, None, confidence, scores, sure)
            self._note_confusion(None, confused)
        elif leaving:
            staying, gone = split(sure, leaving)
            self._write(number, gone, confidence, scores, sure)
            self._note_confusion(gone, confused)
            self._rows, self._at = _taken(self._rows, staying), _taken(self._at, staying)
            if self._best is not None:
                self._best = tuple(values[staying] for values in self._best)
        self.pending -= leaving
        return self.pending

    def compact(self) -> Array:
        """Make the pending samples the only ones present; returns their places (m,) among those present, for `keep`."""
        if self._at is None:
            raise ValueError("Expected samples that were answered since the last compaction, found none")
        staying, self._at = self._at, None
        self._scan.keep(staying)
        if self._watch is not None:
            self._watch.keep(staying)
        return staying

    def answers(self) -> Answers:
        """What was decided, once no sample is pending."""
        xp = self._xp
        make = {"device": self._device}
        costs = xp.asarray([s.relative_cost for s in self._segments], dtype=self._confidences.dtype, **make)
        exits = xp.asarray([s.exit for s in self._segments], dtype=xp.int64, **make)[self._places]
        forced = xp.zeros(len(exits), dtype=xp.bool, **make) if self._forced is None else self._forced
        by = exits if self._by is None else self._by
        withheld = None
        if self._policy.abstention is not None:
            withheld = self._policy.abstention.withholds(self._confidences, self._confusions)
        probabilities = None if self._scores is None else softmax(self._scores)
        return Answers(
            self._labels, self._confidences, exits, costs[self._places], by, forced, self._confusions, withheld,
            probabilities,
        )  # fmt: skip

    def _note_confusion(self, gone: Array | None, confused: Array | None) -> None:
        """Note the confusion of the pending samples at places ``gone``; None for all of them."""
        if confused is None or self._confusions is None:
            return
        rows = self._rows if gone is None else _taken(self._rows, gone)
        self._confusions[slice(None) if rows is None else rows] = confused if gone is None else confused[gone]

    def _note_best(self, confidence: Array, scores: Array, exit_: int) -> None:
        """Remember the surest answer so far of each pending sample; of equally sure ones the first."""
        xp = self._xp
        label = xp.argmax(scores, axis=-1)
        by = xp.full(len(label), exit_, dtype=xp.int64, device=self._device)
        here = (confidence, label, by, scores) if self._scored else (confidence, label, by)
        if self._best is None:
            self._best = here
            return
        better = confidence > self._best[0]
        self._best = tuple(_chosen(better, new, old) for new, old in zip(here, self._best, strict=True))

    def _write(self, number: int, gone: Array | None, confidence: Array, scores: Array, sure: Array | None) -> None:
        """Note the answers of the pending samples at places ``gone``; None for all of them."""
        xp, exit_ = self._xp, self._segments[number].exit
        scores = scores if gone is None else scores[gone]
        label = xp.argmax(scores, axis=-1)
        confidence = confidence if gone is None else confidence[gone]
        rows = self._rows if gone is None else _taken(self._rows, gone)
        rows = slice(None) if rows is None else rows
        if self._best is not None:
            confidence, label, scores = self._answered(rows, gone, (confidence, label, scores), exit_, sure)
        self._labels[rows], self._confidences[rows], self._places[rows] = label, confidence, number
        if self._scored:
            self._note_scores(rows, scores)
        if sure is not None and number == len(self._segments) - 1:  # the policy's cost limit ends here
            self._forced = xp.zeros(len(self._labels), dtype=xp.bool, device=self._device)
            self._forced[rows] = ~sure

    def _note_scores(self, rows: Array, scores: Array) -> None:
        """Note the scores (m, C) of the exits that answered."""
        if self._scores is None:
            shape = (len(self._labels), scores.shape[-1])
            self._scores = self._xp.zeros(shape, dtype=scores.dtype, device=self._device)
        self._scores[rows] = scores

    def _answered(
        self, rows: Array, gone: Array | None, own: tuple[Array, Array, Array], exit_: int, sure: Array | None
    ) -> tuple[Array, Array, Array]:
        """Confidence, label and scores under ``most-confident``: the exit's own where it was sure, else the surest's.

        Where scores are not asked for they are the exit's own.
        """
        xp, (confidence, label, scores) = self._xp, own
        best = self._best if self._best is not None else ()
        surest, its_label, its_exit, *its_scores = (values if gone is None else values[gone] for values in best)
        if sure is None:
            sure = xp.zeros(len(label), dtype=xp.bool, device=self._device)
        elif gone is not None:
            sure = sure[gone]
        if self._by is None:
            self._by = xp.zeros(len(self._labels), dtype=xp.int64, device=self._device)
        self._by[rows] = xp.where(sure, xp.asarray(exit_, dtype=xp.int64, device=self._device), its_exit)
        if its_scores:
            scores = _chosen(sure, scores, its_scores[0])
        return xp.where(sure, confidence, surest), xp.where(sure, label, its_label), scores


def _chosen(first: Array, one: Array, other: Array) -> Array:
    """Rows of ``one`` where ``first`` (m,) holds, else of ``other``; each (m,) or (m, C)."""
    return namespace_of(one).where(first if one.ndim == 1 else first[:, None], one, other)


def _taken(values: Array | None, places: Array) -> Array:
    """Some of the values; where they are none yet they are 0, 1, 2 ..., so the places themselves."""
    return places if values is None else values[places]


def split(sure: Array, leaving: int) -> tuple[Array, Array]:
    """Return the places of samples that stay, in the order to keep them in, and of those that leave.

    Args:
        sure: (n,) bool, whether each leaves.
        leaving: how many do.

    Returns:
        (n - leaving,) integers for `keep`, and (leaving,) ascending ones.
    """
    xp = namespace_of(sure)
    staying = len(sure) - leaving
    if not isinstance(sure, np.ndarray):
        order = xp.argsort(xp.astype(sure, xp.uint8), stable=True)
        return order[:staying], order[staying:]
    places, gone = np.arange(staying), np.flatnonzero(sure)
    places[gone[gone < staying]] = staying + np.flatnonzero(~sure[staying:])
    return places, gone


def keep(x: Array, places: Array) -> Array:
    """Return rows of ``x``; a NumPy array is written to.

    Args:
        x: (n, ...) that is not needed otherwise.
        places: (m,) integers in [0, n), from `split`, or from one `split` taken from another.

    Returns:
        (m, ...)
    """
    if not isinstance(x, np.ndarray):
        return x[places]
    moved = np.flatnonzero(places != np.arange(len(places)))
    x[moved] = x[places[moved]]
    return x[: len(places)]
