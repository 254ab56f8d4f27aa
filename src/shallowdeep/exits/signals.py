"""Confidence signals: how sure an exit is of its answer, in [0, 1], larger = surer."""

from __future__ import annotations

from array_api_compat import array_namespace

from shallowdeep.exits.arrays import Array


def softmax(logits: Array) -> Array:
    """Return class probabilities, finite for logits of any size up to half the dtype's range.

    ``p_c = exp(z_c - max z) / sum_j exp(z_j - max z)``.

    Args:
        logits: (..., C) floating, unnormalised.

    Returns:
        (..., C) of the same dtype, in [0, 1], each row adding up to 1.
    """
    xp = array_namespace(logits)
    exponentials = _exponentials(logits)
    return exponentials / xp.sum(exponentials, axis=-1, keepdims=True)


def max_probability(logits: Array) -> Array:
    """Return the probability of the most likely class: the paper's confidence.

    The largest softmax value has numerator ``exp(0) = 1``, so it is one over the sum; it never exceeds 1.

    Args:
        logits: (E, N, C) floating, unnormalised.

    Returns:
        (E, N) of the same dtype, in [1/C, 1] up to rounding.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 4 (early exits).
    """
    xp = array_namespace(logits)
    return 1 / xp.sum(_exponentials(logits), axis=-1)


def _exponentials(logits: Array) -> Array:
    """Return ``exp(z - max z)`` over the last axis: in [0, 1], the largest exactly 1, so nothing overflows."""
    xp = array_namespace(logits)
    return xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
