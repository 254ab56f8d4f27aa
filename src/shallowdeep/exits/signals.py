"""Confidence signals: how sure an exit is of its answer, in [0, 1], larger = surer.

The functions look at one exit at a time. `scan_of` gives every signal, those that look back at earlier exits among
them, in the form an engine needs: exit by exit, for the samples that are still there.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Protocol

from array_api_compat import device

from shallowdeep.errors import DataError, UnknownNameError
from shallowdeep.exits.arrays import Array, namespace_of
from shallowdeep.exits.ensemble import Ensemble


def softmax(logits: Array) -> Array:
    """Return class probabilities, finite for logits of any size up to half the dtype's range.

    ``p_c = exp(z_c - max z) / sum_j exp(z_j - max z)``.

    Args:
        logits: (..., C) floating, unnormalised.

    Returns:
        (..., C) of the same dtype, in [0, 1], each row adding up to 1.
    """
    xp = namespace_of(logits)
    exponentials = _exponentials(logits)
    return exponentials / xp.sum(exponentials, axis=-1, keepdims=True)


def log_softmax(logits: Array) -> Array:
    """Return logarithms of the class probabilities, (..., C), at most 0."""
    xp = namespace_of(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def max_probability(logits: Array) -> Array:
    """Return the probability of the most likely class: the paper's confidence.

    The largest softmax value has numerator ``exp(0) = 1``, so it is one over the sum; it never exceeds 1.

    Args:
        logits: (..., C) floating, unnormalised.

    Returns:
        (...) of the same dtype, in [1/C, 1] up to rounding.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 4 (early exits).
    """
    xp = namespace_of(logits)
    return 1 / xp.sum(_exponentials(logits), axis=-1)


def entropy_confidence(logits: Array) -> Array:
    """Return ``1 - H(p) / ln C``: 0 for the uniform distribution, 1 for a certain one.

    Args:
        logits: (..., C) floating, unnormalised, C >= 2.

    Returns:
        (...) of the same dtype, in [0, 1].

    Source: BranchyNet (Teerapittayanon et al., ICPR 2016) exits on entropy; normalised and turned here.
    """
    xp = namespace_of(logits)
    logarithms = log_softmax(logits)
    entropy = -xp.sum(xp.exp(logarithms) * logarithms, axis=-1)
    return xp.clip(1 - entropy / log(logits.shape[-1]), 0.0, 1.0)


def margin(logits: Array) -> Array:
    """Return the probability of the likeliest class minus that of the second.

    Args:
        logits: (..., C) floating, unnormalised, C >= 2.

    Returns:
        (...) of the same dtype, in [0, 1].
    """
    xp = namespace_of(logits)
    ordered = xp.sort(softmax(logits), axis=-1)
    return ordered[..., -1] - ordered[..., -2]


class Scan(Protocol):
    """A signal exit by exit, for the samples that are still there."""

    def step(self, logits: Array) -> tuple[Array, Array]:
        """Confidence (n,) and scores (n, C) at the next exit in use; the answer is the class of the highest score."""

    def keep(self, samples: Array) -> None:
        """Go on with some of the samples, given by their places (m,) among the present ones."""


class OneExitScan:
    """A signal that looks at the present exit alone."""

    def __init__(self, signal: Callable[[Array], Array]) -> None:
        self._signal = signal

    def step(self, logits: Array) -> tuple[Array, Array]:
        """Confidence (n,), and the logits as scores."""
        return self._signal(logits), logits

    def keep(self, samples: Array) -> None:
        """Nothing to keep."""


class PatienceScan:
    """Length of the current run of equal answers, over the number of exits in use.

    Source: PABEE (Zhou et al., NeurIPS 2020).
    """

    def __init__(self, exits_in_use: int) -> None:
        self._exits = exits_in_use
        self._last: Array | None = None
        self._run: Array | None = None

    def step(self, logits: Array) -> tuple[Array, Array]:
        """Confidence (n,), and the logits as scores."""
        xp = namespace_of(logits)
        answer = xp.argmax(logits, axis=-1)
        ones = xp.ones(logits.shape[0], dtype=logits.dtype, device=device(logits))
        self._run = ones if self._run is None else xp.where(answer == self._last, self._run + 1, ones)
        self._last = answer
        return self._run / self._exits, logits

    def keep(self, samples: Array) -> None:
        """Keep these samples' last answers and runs."""
        self._last, self._run = _rows(self._last, samples), _rows(self._run, samples)


class EnsembleScan:
    """The largest probability of the geometric mean of all exits so far, which also gives the answer.

    Args:
        ensemble: its weights and biases; None for equal weights and no bias, ``q_k = softmax(mean_{j<=k} log p_j)``.

    Source: Wolczyk et al., "Zero Time Waste", NeurIPS 2021.
    """

    def __init__(self, ensemble: Ensemble | None = None) -> None:
        self._ensemble = ensemble
        self._seen: list[Array] = []  # log p_j of the exits so far, (n, C) each

    def step(self, logits: Array) -> tuple[Array, Array]:
        """Confidence (n,), and log q_k up to a constant as scores.

        Raises:
            DataError: an ensemble of another number of classes.
        """
        if self._ensemble is not None and self._ensemble.classes != logits.shape[-1]:
            raise DataError(f"Expected logits of {self._ensemble.classes} classes, got {logits.shape[-1]}")
        self._seen.append(log_softmax(logits))
        place = len(self._seen) - 1
        if self._ensemble is None:
            scores = sum(self._seen[1:], start=self._seen[0]) / len(self._seen)
        else:
            weights = self._ensemble.weights[place]
            total = self._seen[0] * (weights[0] / len(weights))
            for weight, logarithms in zip(weights[1:], self._seen[1:], strict=True):
                total = total + logarithms * (weight / len(weights))
            scores = total + self._ensemble.biases_like(logits)[place, :]
        return max_probability(scores), scores

    def keep(self, samples: Array) -> None:
        """Keep these samples' logarithms."""
        self._seen = [logarithms[samples] for logarithms in self._seen]


_ONE_EXIT: dict[str, Callable[[Array], Array]] = {
    "max-probability": max_probability,
    "entropy": entropy_confidence,
    "margin": margin,
}
PATIENCE, ENSEMBLE = "patience", "ensemble"
SIGNALS = (*_ONE_EXIT, PATIENCE, ENSEMBLE)
DEFAULT_SIGNAL = "max-probability"


def scan_of(signal: str, exits_in_use: int, ensemble: Ensemble | None = None) -> Scan:
    """Return a fresh scan of the signal called ``signal``.

    Args:
        signal: one of `SIGNALS`.
        exits_in_use: K, the final one included.
        ensemble: weights of the signal ``ensemble``; None for equal ones.

    Raises:
        UnknownNameError: no signal is called so.
    """
    if signal in _ONE_EXIT:
        return OneExitScan(_ONE_EXIT[signal])
    if signal == PATIENCE:
        return PatienceScan(exits_in_use)
    if signal == ENSEMBLE:
        return EnsembleScan(ensemble)
    raise UnknownNameError("signal", signal, SIGNALS)


def scan_exits(
    signal: str, logits: Array, exits_in_use: int | None = None, ensemble: Ensemble | None = None
) -> tuple[Array, Array]:
    """Return confidence and scores at every exit, as if every sample went all the way.

    Args:
        signal: one of `SIGNALS`.
        logits: (K, N, C) floating, of the first K exits in use, unnormalised.
        exits_in_use: how many there are in all; K when None.
        ensemble: weights of the signal ``ensemble``; None for equal ones.

    Returns:
        confidence (K, N) in [0, 1]; scores (K, N, C), whose highest is the answer at that exit.

    Raises:
        UnknownNameError: no signal is called so.
    """
    xp = namespace_of(logits)
    scan = scan_of(signal, logits.shape[0] if exits_in_use is None else exits_in_use, ensemble)
    steps = [scan.step(logits[k, :, :]) for k in range(logits.shape[0])]
    return xp.stack([confidence for confidence, _ in steps]), xp.stack([scores for _, scores in steps])


def _rows(values: Array | None, samples: Array) -> Array | None:
    """Return some rows of what a scan remembers, if it remembers anything yet."""
    return None if values is None else values[samples]


def _exponentials(logits: Array) -> Array:
    """Return ``exp(z - max z)`` over the last axis: in [0, 1], the largest exactly 1, so nothing overflows."""
    xp = namespace_of(logits)
    return xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
