"""A batch as it enters the first segment (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shallowdeep.exits.arrays import Array, namespace_of
from shallowdeep.inference.backends.backend import NOTHING, Backend
from shallowdeep.inference.text_input import fitted, token_counts
from shallowdeep.input_spec import InputSpec, takes_tokens


class Entering(NamedTuple):
    """A batch in a backend's arrays.

    Attributes:
        x: (N, ...), what enters the first segment.
        beside: other inputs (N, ...) that segments read, by their names in ``Backend.beside``; copies, which may be
            written to.
        lengths: (N,) tokens of each text; None for other networks.
    """

    x: Array
    beside: Mapping[str, Array]
    lengths: Array | None


def entering(backend: Backend, batch: Array | Mapping[str, Array], inputs: Sequence[InputSpec]) -> Entering:
    """Return a batch ready for the first segment: token ids are cut or padded to a length that the backend computes.

    Args:
        backend: whose arrays are returned.
        batch: (N, ...), or arrays by name.
        inputs: of the network.
    """
    if isinstance(batch, Mapping):
        given = {spec.name: backend.accept(_typed(batch[spec.name], spec)) for spec in inputs}
        beside = {name: _copied(given[name]) for name in backend.beside}
        return Entering(given[inputs[0].name], beside, None)
    x = backend.accept(_typed(batch, inputs[0]) if takes_tokens(inputs) else batch)
    if not takes_tokens(inputs) or not len(x):
        return Entering(x, NOTHING, None)
    lengths = token_counts(x)
    x = fitted(x, backend.length(int(lengths.max())))
    return Entering(x, {name: _copied(x) for name in backend.beside}, lengths)


def shortened(batch: Entering, length: int) -> Entering:
    """Return a batch cut to a length, where its features (n, L, C) and inputs (n, L) are longer.

    Args:
        batch: of texts.
        length: tokens.
    """
    x, beside, lengths = batch
    width = next((values.shape[1] for values in beside.values()), x.shape[1])
    if length >= width or x.ndim != 3 or x.shape[1] != width:  # noqa: PLR2004 - (n, L, C)
        return batch
    return Entering(x[:, :length], {name: values[:, :length] for name, values in beside.items()}, lengths)


def _typed(values: Array, spec: InputSpec) -> Array:
    """An input in the type that the network takes."""
    xp = namespace_of(values)
    return xp.astype(values, getattr(xp, spec.dtype))


def _copied(values: Array) -> Array:
    return namespace_of(values).asarray(values, copy=True)
