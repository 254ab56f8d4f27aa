"""One threshold: the exit at which each sample is first confident, and what it answers there."""

from __future__ import annotations

from array_api_compat import array_namespace, device

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import Array

_CONFIDENCE_AXES = 2  # (E, N)


def first_confident_exit(confidence: Array, threshold: float) -> Array:
    """Return the first exit whose confidence reaches the threshold, the last exit where none does (rule ``final``).

    The threshold is rounded to the confidence's dtype before the comparison, so that NumPy, torch and an engine agree
    on samples that lie on it.

    Args:
        confidence: (E, N) floating, larger = surer; the last exit's row does not matter.
        threshold: at least 0; 0 stops every sample of a signal in [0, 1] at the first exit, above 1 none early.

    Returns:
        (N,) integers in [0, E), on the device of ``confidence``.

    Raises:
        DataError: ``confidence`` is not (E, N) floating with at least one exit.
        ConfigurationError: the threshold is negative or not a number.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 4: one threshold for all exits. Their
    code answers with the most confident of all exits where none is confident; here the final classifier answers.
    """
    if confidence.ndim != _CONFIDENCE_AXES or confidence.shape[0] == 0:
        raise DataError(f"Expected confidence of shape (exits, samples), got {tuple(confidence.shape)}")
    xp = array_namespace(confidence)
    if not xp.isdtype(confidence.dtype, "real floating"):
        raise DataError(f"Expected floating confidence, got dtype {confidence.dtype}")
    if not threshold >= 0:  # also true of nan
        raise ConfigurationError(f"Expected a threshold of at least 0, got {threshold}")
    limit = xp.asarray(threshold, dtype=confidence.dtype, device=device(confidence))
    confident = confidence[:-1, :] >= limit  # (E-1, N)
    last = xp.ones_like(confidence[-1:, :], dtype=xp.bool)  # whoever comes this far stops here
    stops = xp.concat([confident, last], axis=0)
    return xp.argmax(xp.astype(stops, xp.uint8), axis=0)  # of equal values argmax gives the first


def answers(logits: Array, exits: Array) -> Array:
    """Return the label each sample gets at the exit it stops at.

    Args:
        logits: (E, N, C) floating, unnormalised.
        exits: (N,) integers in [0, E), same library and device.

    Returns:
        (N,) integers in [0, C); of equal logits the lowest class.

    Raises:
        DataError: shapes do not go together.
    """
    if exits.shape != logits.shape[1:2]:
        raise DataError(
            f"Expected one exit for each sample of logits {tuple(logits.shape)}, got exits of shape "
            f"{tuple(exits.shape)}"
        )
    xp = array_namespace(logits, exits)
    samples = xp.arange(logits.shape[1], device=device(logits))
    return xp.argmax(logits[exits, samples], axis=-1)  # (N, C) -> (N,)
