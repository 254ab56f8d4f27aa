"""Whether what was written computes what was trained: every file is run before a bundle takes its place.

Exporters drop arguments and freeze sizes of batch without a word; such a bundle would answer wrongly, or fail later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from shallowdeep.data.text import PADDING, TextPreprocessing
from shallowdeep.errors import ConfigurationError, ConversionError, innermost, one_line
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.policy import decide
from shallowdeep.inference.backends.backend import Backend
from shallowdeep.inference.backends.registry import backend_module, open_segments
from shallowdeep.inference.bundle import Agreement, Bundle
from shallowdeep.inference.entering import entering
from shallowdeep.inference.precision import F32
from shallowdeep.input_spec import ALONE, MASK, takes_tokens
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.network import ShallowDeepNetwork

LEAST_EQUAL = 0.98
"""Share of answers at lower precision that must be float32's, unless another one is asked for."""

NEAR = 1e-4  # of the largest logit, or of 1: float32 in another order
NEAR_LOW = 0.05  # the same at lower precision, where what passes between segments is rounded besides
_IMAGES = 3
_LARGEST_BYTES = 2**24  # of images in the largest batch that is tried
_LARGEST = 64  # where a runtime has no largest batch

_FEW_IDS = 2  # of tokens, below any vocabulary's size

Floats = NDArray[np.float32]
Batch: TypeAlias = NDArray[Any] | Mapping[str, NDArray[Any]]
Uncut: TypeAlias = Callable[[Batch], Floats]
B = TypeVar("B", bound=Batch)


def verify(bundle: Bundle, network: ShallowDeepNetwork, uncut: Uncut | None = None) -> None:
    """Run a bundle's files on random images, in batches of 1, of 3, and of as many as run at once (or fill 16 MiB).

    In float32 each exit's logits must be the network's; at lower precision those of the same runtime's uncut graph, or
    where there is none the last ones must be those of its static network, where the bundle has it.

    Args:
        bundle: its files are there.
        network: on the CPU.
        uncut: what the graph with all exits computes at lower precision before it is cut: (N, ...) to (E, N, C).

    Raises:
        ConversionError: a file cannot run, or computes something else; names the file and the module of its exit.
    """
    images = _random(bundle)
    try:
        backend = open_segments(bundle, None, None)
    except ConfigurationError:  # for another machine: this one lacks the device
        return
    room = max(_IMAGES, _LARGEST_BYTES // (4 * prod(bundle.input_shape)))
    sizes = sorted({1, _IMAGES, min(room, backend.largest or _LARGEST)})
    module = backend_module(bundle.backend)
    static = None if bundle.static is None else module.open_static(bundle, None, module.POOLS[0])
    if bundle.precision == F32:
        for rows in (images, *_shorter(bundle, images)):
            expected = _logits_of(network, rows)
            for size in sizes:
                _check_segments(bundle, network, backend, _batch(rows, size), expected)
                if static is not None:
                    got = _run(bundle, str(bundle.static), "final", static, _batch(rows, size))
                    _compare(to_numpy(got), expected[-1], NEAR, f"{bundle.static} (the unmodified network)", size)
    elif uncut is not None:
        for size in sizes:
            batch = _batch(images, size)
            _check_segments(bundle, network, backend, batch, uncut(batch), near=NEAR_LOW)
    elif static is not None and bundle.segments[-1].exit == len(network.exits) - 1:
        for size in sizes:
            batch = _batch(images, size)
            whole = to_numpy(_run(bundle, str(bundle.static), "final", static, batch))
            _check_segments(bundle, network, backend, batch, whole[None], near=NEAR_LOW, last_only=True)


def agreement(bundle: Bundle, network: ShallowDeepNetwork, images: Floats, least: float) -> Agreement:
    """Compare the answers of a bundle at lower precision with those of its network in float32.

    Args:
        bundle: its files are there.
        network: on the CPU.
        images: (n, C, H, W) normalised, that nothing was quantised by.
        least: share that must be equal, a fraction.

    Raises:
        ConversionError: fewer are equal; names the exit that differs most.
    """
    backend = open_segments(bundle, None, None)
    step = min(_LARGEST, backend.largest or _LARGEST)
    parts = [images[start : start + step] for start in range(0, len(images), step)]
    expected = np.concatenate([_logits_of(network, part) for part in parts], axis=1)
    got = np.zeros_like(expected)
    start = 0
    for part in parts:
        (x, beside, _), logits = entering(backend, part, bundle.inputs), None
        for number, segment in enumerate(bundle.segments):
            x, logits = backend.run(number, x, logits, beside)
            got[segment.exit, start : start + len(part)] = to_numpy(logits)
        start += len(part)
    answers = [to_numpy(decide(bundle.policy, one, network.costs).labels) for one in (got, expected)]
    equal = float((answers[0] == answers[1]).mean())
    if equal < least:
        same = {s.exit: float((got[s.exit].argmax(-1) == expected[s.exit].argmax(-1)).mean()) for s in bundle.segments}
        worst = min(same, key=lambda exit_: same[exit_])
        raise ConversionError(
            f"Expected at least {least:.0%} of the answers in {bundle.precision} to be those in float32, got "
            f"{equal:.1%} on {len(images):,} images; exit {worst} ({network.exits[worst].name}) agrees on "
            f"{same[worst]:.1%}: export at another precision, or accept fewer (--least-agreement)"
        )
    return Agreement(len(images), equal)


def _check_segments(
    bundle: Bundle, network: ShallowDeepNetwork, backend: Backend, batch: Batch, expected: Floats, *,
    near: float = NEAR, last_only: bool = False,
) -> None:  # fmt: skip
    """Run segments in turn and compare each one's logits, or the last one's alone."""
    (x, beside, _), logits = entering(backend, batch, bundle.inputs), None
    for number, (segment, file) in enumerate(zip(bundle.segments, bundle.files, strict=True)):
        name = network.exits[segment.exit].name
        x, logits = _run(bundle, file, name, lambda x, k=number, p=logits: backend.run(k, x, p, beside), x)  # type: ignore[misc]
        last = number == len(bundle.files) - 1
        if last or not last_only:
            wanted = expected[-1 if last_only else segment.exit]
            _compare(to_numpy(logits), wanted, near, f"{file} (up to {name})", len(logits))


def _run(bundle: Bundle, file: str, name: str, run: Callable[[Any], Any], x: Array) -> Any:  # noqa: ANN401 - a backend's
    try:
        return run(x)
    except Exception as error:
        raise ConversionError(
            f"Expected {file} (up to {name}) to run in {bundle.backend} on a batch of {len(x)}, got "
            f"{one_line(innermost(error))}; its exporter cannot write what "
            f"this part of {bundle.model or 'the network'} does"
        ) from error


def _compare(got: Floats, expected: Floats, near: float, what: str, size: int) -> None:
    wanted = _batch(expected, size) if len(expected) != size else expected
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    gap = float(np.abs(got - wanted).max(initial=0)) if got.shape == wanted.shape else float("inf")
    if not gap <= near * scale:
        raise ConversionError(
            f"Expected {what} to compute the network's logits in a batch of {size}, but they differ by up to {gap:.3g} "
            f"(largest {scale:.3g}): its exporter dropped or changed something there; export for another runtime"
        )


def _random(bundle: Bundle) -> Batch:
    """Different samples of a bundle's inputs: normal numbers, ids in texts of several lengths, masks of ones."""
    draw = np.random.default_rng(0)
    found: dict[str, NDArray[Any]] = {}
    for spec in bundle.inputs:
        size = (_IMAGES, *spec.shape)
        if "float" in spec.dtype:
            found[spec.name] = draw.standard_normal(size).astype(spec.dtype)
        elif spec.name == MASK or spec.dtype == "bool":
            found[spec.name] = np.ones(size, spec.dtype)
        else:
            known = bundle.preprocessing
            ids = known.vocabulary if isinstance(known, TextPreprocessing) else _FEW_IDS
            found[spec.name] = draw.integers(0, ids, size).astype(spec.dtype)
    if not takes_tokens(bundle.inputs):
        return found if list(found) != [ALONE] else found[ALONE]
    for row, ids in enumerate(found[ALONE]):
        ids[max(1, len(ids) - row) :] = PADDING
    return found[ALONE]


def _shorter(bundle: Bundle, rows: Batch) -> list[Batch]:
    """The same texts cut to about half, since exporters freeze lengths too; nothing for other networks."""
    length = bundle.inputs[0].shape[0] if bundle.inputs[0].tokens else 0
    half = (length + 1) // 2
    if half < 2 or half == length:  # noqa: PLR2004 - a length of 1 is a size of its own to exporters
        return []

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        return values[:, :half] if values.ndim > 1 and values.shape[1] == length else values

    return [{name: cut(values) for name, values in rows.items()} if isinstance(rows, Mapping) else cut(rows)]


def _batch(rows: B, size: int) -> B:
    """The rows again and again, ``size`` of them."""
    if isinstance(rows, Mapping):
        return {name: _batch(values, size) for name, values in rows.items()}  # type: ignore[return-value]
    return np.ascontiguousarray(rows[np.arange(size) % len(rows)])  # type: ignore[return-value]


def _logits_of(network: ShallowDeepNetwork, batch: Batch) -> Floats:
    """Logits of all exits, (E, n, C)."""
    dtype = next(network.parameters()).dtype

    def tensor(values: NDArray[Any]) -> torch.Tensor:
        given = torch.from_numpy(values)
        return given.to(dtype) if given.is_floating_point() else given

    inputs = {key: tensor(values) for key, values in batch.items()} if isinstance(batch, Mapping) else tensor(batch)
    with torch.no_grad(), evaluating(network):
        logits: Floats = network(inputs).float().numpy()
    return logits
