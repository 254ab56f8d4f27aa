"""One temperature for each exit, so that its probabilities mean what they say."""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from shallowdeep.errors import DataError
from shallowdeep.exits.signals import log_softmax

COLDEST, HOTTEST = 0.05, 20.0
_LOGITS_AXES = 3  # (E, N, C)


def fit_temperatures(logits: ArrayLike, labels: ArrayLike) -> tuple[float, ...]:
    """Return, for each exit, the temperature whose probabilities give the labels the least loss.

    Minimises the mean of ``-log softmax(z / T)_label`` over T, a convex problem in 1/T with one unknown.

    Args:
        logits: (E, N, C) unnormalised.
        labels: (N,) integers in [0, C).

    Returns:
        (E,) in [0.05, 20].

    Raises:
        DataError: shapes that do not go together, or no sample.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    values, truth = _checked(logits, labels)

    def fitted(exit_logits: NDArray[np.float64]) -> float:
        found = minimize_scalar(
            lambda logarithm: _loss(exit_logits, truth, exp(logarithm)),
            bounds=(log(COLDEST), log(HOTTEST)),
            method="bounded",
            options={"xatol": 1e-4},
        )
        return exp(float(found.x))

    return tuple(fitted(exit_logits) for exit_logits in values)


def label_losses(logits: ArrayLike, labels: ArrayLike, temperatures: ArrayLike) -> tuple[float, ...]:
    """Return each exit's mean negative log-likelihood of the labels, in nats.

    Args:
        logits: (E, N, C) unnormalised.
        labels: (N,) integers in [0, C).
        temperatures: (E,) above 0.

    Raises:
        DataError: shapes that do not go together, or no sample.
    """
    values, truth = _checked(logits, labels)
    pairs = zip(values, np.asarray(temperatures, dtype=np.float64).tolist(), strict=True)
    return tuple(_loss(exit_logits, truth, temperature) for exit_logits, temperature in pairs)


def _loss(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    """Return the mean negative log-likelihood at one exit, logits (N, C)."""
    return -float(log_softmax(logits / temperature)[np.arange(len(labels)), labels].mean())


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return both as NumPy arrays once their shapes go together."""
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if values.ndim != _LOGITS_AXES or truth.shape != values.shape[1:2] or not truth.size:
        raise DataError(f"Expected logits (E, N, C) and labels (N,), got {values.shape} and {truth.shape}")
    return values, truth
