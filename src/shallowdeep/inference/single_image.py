"""One image on its way through the exits: decided with plain numbers, since array operations cost as much as layers.

Whether an image leaves is what the arrays would say: where rounding could make a difference, they are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import DataError
from shallowdeep.exits.abstention import CONFUSION
from shallowdeep.exits.arrays import Array
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.signals import DEFAULT_SIGNAL, softmax
from shallowdeep.inference.backends.backend import NOTHING, Backend
from shallowdeep.inference.batch_state import Answers
from shallowdeep.inference.segments import Segment

MOST_CLASSES = 64  # with more of them arrays are faster
_ROUNDING = 2.0**-24  # of a float32, relative
_LARGEST_LOGIT = 2.0**16  # above, the bound on errors does not hold
_ONE_THREAD = 10_000  # values up to which BLAS uses no other thread

Floats = NDArray[np.float32]


class _Step(NamedTuple):
    """What is done after a segment.

    Attributes:
        looked_at: whether the policy uses its exit.
        threshold: rounded to float32; None at the final exit, where every image leaves.
        temperature: of the exit.
    """

    looked_at: bool
    threshold: float | None
    temperature: float


class SingleImage:
    """Answers one image at a time, for policies that look at the largest probability of one exit.

    Args:
        policy: that `fits`.
        segments: in turn, the exits they lead to.
    """

    def __init__(self, policy: Policy, segments: Sequence[Segment]) -> None:
        self._abstention = policy.abstention
        self._steps = [_step(policy, segment) for segment in segments]
        self._exits = [segment.exit for segment in segments]
        self._costs = [segment.relative_cost for segment in segments]

    @staticmethod
    def fits(policy: Policy) -> bool:
        """Whether a policy can be followed so."""
        by_confusion = policy.abstention is not None and policy.abstention.indicator == CONFUSION
        return policy.signal == DEFAULT_SIGNAL and policy.fallback == "final" and not by_confusion

    def answer(
        self, backend: Backend, x: Floats, beside: Mapping[str, Array] = NOTHING, *, probabilities: bool
    ) -> Answers:
        """Answer one image.

        Args:
            backend: runs the segments on NumPy arrays.
            x: (1, C, H, W), as the backend accepts it; or what else the network takes.
            beside: inputs that segments read besides, see `Backend.run`.
            probabilities: tell those of all classes too.

        Raises:
            DataError: values that are not finite.
        """
        if x.dtype.kind == "f" and not _finite(x):
            raise DataError("Expected finite images, got values that are infinite or not a number")
        logits: Any = None
        last = len(self._steps) - 1
        features: Any = x
        for number, step in enumerate(self._steps):
            features, logits = backend.run(number, features, logits, beside)
            if number == last or (step.looked_at and leaves(logits, step.threshold, step.temperature)):
                return self._answers(number, logits, probabilities=probabilities)
        raise ValueError("Expected at least one segment, got none")

    def _answers(self, number: int, logits: Floats, *, probabilities: bool) -> Answers:
        """What is said where the image leaves."""
        _, threshold, temperature = self._steps[number]
        scores = logits if temperature == 1 else logits / temperature
        confidence = _max_probability(scores)
        forced = number == len(self._steps) - 1 and threshold is not None and not confidence[0] >= threshold
        exits = np.array([self._exits[number]])
        return Answers(
            scores.argmax(axis=-1), confidence, exits, np.array([self._costs[number]], dtype=confidence.dtype), exits,
            np.array([forced]), None,
            None if self._abstention is None else self._abstention.withholds(confidence, None),
            softmax(scores) if probabilities else None,
        )  # fmt: skip


def leaves(logits: Floats, threshold: float | None, temperature: float) -> bool:
    """Whether the largest probability is at least a threshold, as `exits.signals.max_probability` would find it.

    It is computed in double precision. With M the largest logit by size and C classes, that of float32 differs by less
    than ``2^-24 (8 M + 2 C + 16)`` of itself: rounding of the quotients and differences (4 M), of the exponentials (5),
    their sum (C) and the quotient (1), twice. Nearer to the threshold than that, float32 is asked.

    Args:
        logits: (1, C) float32.
        threshold: rounded to float32; None for one that is always reached.
        temperature: that the logits are divided by.
    """
    if threshold is None:
        return True
    values = logits.tolist()[0] if logits.shape[-1] <= MOST_CLASSES else []
    if values:
        if temperature != 1:
            values = [value / temperature for value in values]
        largest = max(values)
        size = max(largest, -min(values))
        total = 0.0
        for value in values:
            total += exp(value - largest)
        confidence = 1 / total
        error = _ROUNDING * (8 * size + 2 * len(values) + 16) * confidence
        if size < _LARGEST_LOGIT and abs(confidence - threshold) > error:
            return confidence > threshold
    return bool(_max_probability(logits if temperature == 1 else logits / temperature)[0] >= threshold)


def _max_probability(logits: Floats) -> Floats:
    """`max_probability` of (1, C) logits, bit for bit, in a third of the time."""
    found: Floats = 1 / np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)
    return found


def _step(policy: Policy, segment: Segment) -> _Step:
    looked_at = segment.exit in policy.in_use
    final = segment.exit == policy.exits - 1
    threshold = None if final or not looked_at else float(np.float32(policy.threshold_at(segment.exit)))
    return _Step(looked_at, threshold, policy.temperature_at(segment.exit))


def _finite(x: Floats) -> bool:
    """Whether all values are finite; sums of finite values may not be, so that they are looked at then."""
    probe = np.vdot(x, x) if x.size <= _ONE_THREAD else x.sum()
    return isfinite(probe) or bool(np.isfinite(x).all())
