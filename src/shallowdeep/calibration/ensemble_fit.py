"""Weights and biases of the geometric ensemble, fitted to held-out logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.signals import log_softmax

PRIOR = 3.0  # samples' worth of squared distance from equal weights and no bias, in nats
_MOST_STEPS = 200
_LOGITS_AXES = 3  # (K, N, C)

Floats = NDArray[np.float64]


def fit_ensemble(logits: ArrayLike, labels: ArrayLike) -> Ensemble:
    """Return the ensemble whose probabilities give the labels the least loss, at every exit on its own.

    Minimises ``sum_n -log q_k(label_n) + PRIOR/2·(|v|² + |b|²)`` over v, with weights w = exp(v), and b by L-BFGS. The
    penalty keeps small splits, many classes and exits that know nothing near plain averaging.

    Args:
        logits: (K, N, C) unnormalised, of the exits in use; not those the network was trained on.
        labels: (N,) integers in [0, C).

    Raises:
        DataError: shapes that do not go together, or no sample.
        ConfigurationError: a single exit, which has nothing to be combined with.

    Source: Wolczyk et al., "Zero Time Waste", NeurIPS 2021, section 3.2; the penalty is ours.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if values.ndim != _LOGITS_AXES or truth.shape != values.shape[1:2] or not truth.size:
        raise DataError(f"Expected logits (K, N, C) and labels (N,), got {values.shape} and {truth.shape}")
    if len(values) == 1:
        raise ConfigurationError("Expected at least two exits in use for an ensemble, got one")
    logarithms = log_softmax(values)
    rows = [_fit_exit(logarithms[: place + 1], truth) for place in range(len(logarithms))]
    return Ensemble(tuple(tuple(row[0].tolist()) for row in rows), tuple(tuple(row[1].tolist()) for row in rows))


def _fit_exit(logarithms: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the weights (k + 1,) and biases (C,) at one exit, from log p_j (k + 1, N, C)."""
    exits, samples, classes = logarithms.shape
    places = np.arange(samples)

    def loss(unknowns: Floats) -> tuple[float, Floats]:
        weights, biases = np.exp(unknowns[:exits]) / exits, unknowns[exits:]
        scores = log_softmax(np.tensordot(weights, logarithms, axes=1) + biases)  # (N, C)
        slopes = np.exp(scores)
        slopes[places, labels] -= 1
        by_weight = weights * np.tensordot(logarithms, slopes, axes=([1, 2], [0, 1]))
        gradient = np.concatenate([by_weight, slopes.sum(axis=0)]) + PRIOR * unknowns
        penalty = PRIOR / 2 * float(unknowns @ unknowns)
        return (penalty - float(scores[places, labels].sum())) / samples, gradient / samples

    bounds = [(-10, 5)] * exits + [(None, None)] * classes  # weights neither vanish nor overflow
    start = np.zeros(exits + classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_STEPS})
    return np.exp(found.x[:exits]), found.x[exits:]
