"""Scores that tell how likely the final exit's answer is wrong, all of the same predictions; larger = likelier wrong.

Sources: max softmax (Hendrycks and Gimpel, ICLR 2017); energy (Liu et al., NeurIPS 2020); MaxLogit-pNorm (Cattelan and
Silva, "How to fix a broken confidence estimator", UAI 2024); mutual information (Gal et al., ICML 2017), here across
exits; confusion (Kaya, Hong, Dumitras, ICML 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.error_detection import detection
from shallowdeep.errors import DataError
from shallowdeep.exits.confusion import confusion
from shallowdeep.exits.signals import entropy_confidence, log_softmax, margin, max_probability, softmax

Logits = NDArray[Any]
Scores = NDArray[np.float64]
POWERS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
DEFAULT_POWER = 4.0
_TINY = 1e-12


def max_softmax(logits: Logits) -> Scores:
    """Return 1 - max softmax of the final exit, (N,), from logits (E, N, C)."""
    return 1 - np.asarray(max_probability(_final(logits)))


def entropy(logits: Logits) -> Scores:
    """Return the entropy of the final exit over ln C, (N,) in [0, 1], from logits (E, N, C)."""
    return 1 - np.asarray(entropy_confidence(_final(logits)))


def small_margin(logits: Logits) -> Scores:
    """Return 1 - (p1 - p2) of the final exit, (N,) in [0, 1], from logits (E, N, C)."""
    return 1 - np.asarray(margin(_final(logits)))


def energy(logits: Logits) -> Scores:
    """Return the free energy -log sum exp z of the final exit, (N,), from logits (E, N, C)."""
    final = _final(logits)
    top = final.max(axis=-1)
    return np.asarray(-(top + np.log(np.exp(final - top[:, None]).sum(axis=-1))))


def maxlogit_pnorm(logits: Logits, power: float = DEFAULT_POWER) -> Scores:
    """Return minus the largest centred logit over the p-norm of all, of the final exit, (N,), from logits (E, N, C)."""
    final = _final(logits)
    centred = final - final.mean(axis=-1, keepdims=True)
    centred /= np.maximum(np.abs(centred).max(axis=-1, keepdims=True), _TINY)  # cancels out, and powers stay finite
    norm = (np.abs(centred) ** power).sum(axis=-1) ** (1 / power)
    return np.asarray(-centred.max(axis=-1) / np.maximum(norm, _TINY))


def ensemble(logits: Logits) -> Scores:
    """Return 1 - the largest of the exits' mean probabilities, (N,), from logits (E, N, C)."""
    return np.asarray(1 - _mean_probabilities(logits).max(axis=-1), dtype=np.float64)


def mutual_information(logits: Logits) -> Scores:
    """Return H(mean p) - mean H(p_k) over ln C, (N,) in [0, 1], from logits (E, N, C)."""
    mean = _mean_probabilities(logits)
    of_mean = -(mean * np.log(mean + _TINY)).sum(axis=-1)
    within = np.zeros(logits.shape[1])
    for one in logits:
        logarithms = log_softmax(one.astype(np.float64))
        within -= (np.exp(logarithms) * logarithms).sum(axis=-1)
    return np.asarray(np.maximum(of_mean - within / len(logits), 0) / log(logits.shape[-1]), dtype=np.float64)


def disagreement(logits: Logits) -> Scores:
    """Return the paper's confusion, (N,), from logits (E, N, C)."""
    return np.asarray(confusion(logits), dtype=np.float64)


def best_power(logits: Logits, errors: NDArray[np.bool_]) -> float:
    """Return the power of `maxlogit_pnorm` with the smallest AURC.

    Args:
        logits: (E, N, C) of ``tune``.
        errors: (N,) bool, of the final exit there.

    Raises:
        DataError: the errors are all alike.
    """
    return min(POWERS, key=lambda power: detection(maxlogit_pnorm(logits, power), errors).aurc)


PLAIN: dict[str, Callable[[Logits], Scores]] = {
    "confusion": disagreement,
    "max-softmax": max_softmax,
    "entropy": entropy,
    "margin": small_margin,
    "energy": energy,
    "maxlogit-pnorm": maxlogit_pnorm,
    "ensemble": ensemble,
    "mutual-information": mutual_information,
}
"""Indicators that need no fitting."""

OF_SEVERAL_EXITS = ("confusion", "ensemble", "mutual-information")
"""Those that say nothing (or the same as another) where there is one exit."""


def indicator_scores(logits: Logits, power: float = DEFAULT_POWER) -> dict[str, Scores]:
    """Return every indicator that needs no fitting.

    Args:
        logits: (E, N, C) floating, unnormalised, C at least 2.
        power: of `maxlogit_pnorm`.

    Returns:
        (N,) each, by name; those across exits are left out where there is one exit.

    Raises:
        DataError: fewer than two classes.
    """
    if logits.shape[-1] < 2:  # noqa: PLR2004 - with one class nothing is uncertain
        raise DataError(f"Expected at least 2 classes, got {logits.shape[-1]}")
    names = [name for name in PLAIN if len(logits) > 1 or name not in OF_SEVERAL_EXITS]
    return {name: maxlogit_pnorm(logits, power) if name == "maxlogit-pnorm" else PLAIN[name](logits) for name in names}


def _final(logits: Logits) -> Logits:
    """Return the final exit's logits (N, C) in float64: in float32 sure answers would tie at a confidence of 1."""
    return np.asarray(logits[-1], dtype=np.float64)


def _mean_probabilities(logits: Logits) -> NDArray[Any]:
    """Return the mean of the exits' probabilities, (N, C)."""
    total = np.zeros(logits.shape[1:])
    for one in logits:
        total += softmax(one.astype(np.float64))
    mean: NDArray[Any] = total / len(logits)
    return mean
