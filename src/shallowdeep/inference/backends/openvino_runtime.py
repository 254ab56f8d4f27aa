"""OpenVINO on the CPU: each segment compiled for a few sizes of batch (and of text), tensors handed on without a copy.

With a batch of any size the runtime prepares its kernels again for every new number of survivors. So a batch is padded
up to the next of `BUCKETS`, and samples leave it only where that reaches a smaller one. A model is compiled when its
size is first needed. Where too many take too much memory, a batch is padded further, or those long unused are dropped;
where those of one batch take too much, larger batches are split from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import CheckpointError, one_line
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.inference.backends.backend import CPU_MACS_PER_BYTE, NOTHING, Exporter
from shallowdeep.inference.backends.openvino_models import CompiledModels, Held, Key, check_precision
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.openvino_core import openvino
from shallowdeep.inference.openvino_graph import FEATURES, INPUT, LOGITS, PREVIOUS
from shallowdeep.inference.precision import Precision
from shallowdeep.inference.text_input import fitted, token_counts
from shallowdeep.input_spec import takes_tokens

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

POOLS = ("process",)
# Sizes of batch that models are compiled for: less than a fifth of what is computed is padding.
BUCKETS = (*range(1, 9), 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
LENGTHS = (*range(8, 65, 8), *range(80, 129, 16), *range(160, 257, 32), *range(320, 513, 64))
"""Tokens that models of text are compiled for; beyond these multiples of 128."""

_LONGER = 128
_LEAST_AT_ONCE = 8  # samples that batches are not split below for that
_VALUES_SHARE = 0.5  # of the memory's limit, that values of all sizes of batch may take; weights need the rest
_COPIED = 65_536  # bytes: more are read where they are, which costs about as much as copying these

Values = NDArray[Any]


def bucket_of(samples: int, sizes: Sequence[int] = BUCKETS) -> int:
    """Return the smallest of the sizes that holds so many samples; the largest for more."""
    return next((size for size in sizes if size >= samples), sizes[-1])


def length_of(tokens: int) -> int:
    """Return the smallest of `LENGTHS` that holds so many tokens; beyond them the next multiple of 128."""
    return next((length for length in LENGTHS if length >= tokens), -(-tokens // _LONGER) * _LONGER)


class OpenVino:
    """Segments as OpenVINO models.

    Args:
        paths: one file a segment, see `shallowdeep.inference.openvino_graph.cut`.
        threads: of the runtime; None for one a core.
        precision: ``f32``, ``bf16`` or ``int8``.
        buckets: sizes of batch to compile for, ascending.
        contents: see `CompiledModels`.
        longest: tokens of the longest texts; 0 for networks of images.
        several: whether the network has several inputs.

    Attributes:
        models: compiled so far; `CompiledModels.limit` bounds their memory.
        largest: batch that runs at once: of large images fewer than there are buckets for, so that models for all sizes
            of batch up to it have room beside each other; halved where segments compiled for it exceed the limit.

    Raises:
        ConfigurationError: a precision that this processor cannot do.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        threads: int | None,
        precision: str,
        buckets: Sequence[int] = BUCKETS,
        contents: Sequence[str] = (),
        *,
        longest: int = 0,
        several: bool = False,
    ) -> None:
        self.macs_per_byte = CPU_MACS_PER_BYTE
        self._largest: int | None = None
        self.models = CompiledModels(paths, threads, precision, contents)
        self.beside = self.models.beside if longest or several else ()
        self._longest = longest
        self._buckets = tuple(buckets)
        self._sizes = [bucket_of(samples, buckets) for samples in range(buckets[-1] + 1)]
        self._own = threading.local()  # requests hold a batch's tensors: each thread has its own
        self._all: WeakValueDictionary[int, _Requests] = WeakValueDictionary()  # those of every thread

    @property
    def memory(self) -> int:
        """Estimated bytes that the compiled segments take, with the tensors of one thread."""
        return self.models.memory

    @property
    def largest(self) -> int:
        """See the class; found out when it is first asked for."""
        if self._largest is None:
            self._largest = self._buckets[-1] if self._longest else self._with_room()
        return self._largest

    @largest.setter
    def largest(self, size: int) -> None:
        self._largest = size

    def _with_room(self) -> int:
        """Return the largest bucket such that the values of all up to it take at most half of the memory's limit."""
        room = self.models.limit * _VALUES_SHARE / self.models.bytes_per_sample()
        sums = accumulate(self._buckets)
        pairs = zip(self._buckets, sums, strict=True)
        fitting = [size for size, samples in pairs if samples <= room or size <= _LEAST_AT_ONCE]
        return fitting[-1] if fitting else self._buckets[0]

    def rows(self, samples: int) -> int:
        """Return how many samples are computed for so many."""
        return self._sizes[samples]

    def length(self, tokens: int) -> int:
        """Return how many tokens are computed for so many."""
        return min(length_of(tokens), max(self._longest, tokens))

    def accept(self, images: Array) -> Values:
        """An input as a contiguous float32 or int64 array on the host."""
        return _accepted(images)

    def run(
        self, number: int, x: Values, previous: Values | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Values, Values]:
        """Run one segment; what it returns stays as it is until the same thread runs the segment again."""
        samples = len(x)
        request = self._request(number, self._sizes[samples], x.shape[1] if self._longest else 0)
        size = request.size
        request.read(x, size)
        for name, values in request.beside.items():
            values[:samples] = beside[name]
        if request.previous is not None and previous is not None:
            request.previous[:samples] = previous
        request.infer()
        if samples == size:
            return request.features, request.logits
        return request.features[:samples], request.logits[:samples]

    def _request(self, number: int, size: int, length: int) -> _Request:
        try:
            request: _Request | None = self._own.requests.get((number, size, length))
        except AttributeError:
            self._own.requests = _Requests()
            self._all[id(self._own.requests)] = self._own.requests
            request = None
        if request is None:
            nearest = self.models.nearest(number, size, length)
            if nearest != size:
                return self._request(number, nearest, length)
            held, dropped = self.models.model(number, size, length)
            self._forget(dropped)
            request = _Request(held, size)
            if self.models.crowded:
                self._split_below(self.models.widest)
            if self.models.keeps(held):  # it was not dropped meanwhile
                self._own.requests[number, size, length] = request
        else:
            self.models.touch(request.held)
        return request

    def _forget(self, dropped: Sequence[Key]) -> None:
        """Let the requests of dropped models go, in every thread: a request keeps its model."""
        for requests in list(self._all.values()):
            for key in dropped:
                requests.pop(key, None)

    def _split_below(self, size: int) -> None:
        """Run at most half of a size at once from now on, if there is a bucket for it."""
        self.models.crowded = False
        smaller = [bucket for bucket in self._buckets if 2 * bucket <= size]
        if smaller:
            self.largest = min(self.largest, smaller[-1])
            self._forget(self.models.drop_above(self.largest))


class _Requests(dict["Key", "_Request"]):
    """One thread's requests, by segment, size of batch and length of texts."""


class _Request:
    """A segment at one size of batch, with the tensors it reads and writes.

    Args:
        held: the compiled model.
        size: of its batches.

    Attributes:
        held: see above.
        size: likewise.
        beside: other inputs (size, ...) that it reads, by name.
        previous: (size, C) that cascaded heads read; None where there are none.
        logits: (size, C) that it writes.
        features: (size, ...) that it writes; the last segment's are the logits.
    """

    def __init__(self, held: Held, size: int) -> None:
        self.held, self.size, compiled = held, size, held.model
        self._request = compiled.create_infer_request()
        names = [_input_name(port) for port in compiled.inputs]
        self._place = next(place for place, name in enumerate(names) if name in {INPUT, FEATURES})
        self.beside: dict[str, Values] = {
            name: self._request.get_input_tensor(place).data
            for place, name in enumerate(names)
            if name not in {INPUT, FEATURES, PREVIOUS}
        }
        own = self._request.get_input_tensor(self._place)
        self._element, self._own = own.element_type, own
        self._input: Values = own.data
        self.previous: Values | None = None
        if PREVIOUS in names:
            self.previous = self._request.get_input_tensor(names.index(PREVIOUS)).data
        ordered = sorted(range(len(compiled.outputs)), key=lambda k: LOGITS not in compiled.outputs[k].get_names())
        outputs: list[Values] = [self._request.get_output_tensor(place).data for place in ordered]
        self.logits, self.features = outputs[0], outputs[-1]
        self._bound = self._input  # the array that is read
        self._first = INPUT in names
        self._copied = self._input.nbytes <= _COPIED and self._first

    def infer(self) -> None:
        """Compute; outputs are not copied, and the caller's images are not kept."""
        try:
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"Expected a segment to run in OpenVINO on {self.size} images, got {one_line(error)}"
            ) from error
        if self._first and self._bound is not self._input:
            self._request.set_input_tensor(self._place, self._own)
            self._bound = self._input

    def read(self, x: Values, size: int) -> None:
        """Let the segment read ``x`` (n, ...): where it begins a larger array, in place, else a copy."""
        if x is self._bound:
            return
        whole = None if self._copied else _whole(x, size)
        if whole is None:
            self._input[: len(x)] = x
            whole = self._input
        if whole is not self._bound and whole.ctypes.data != self._bound.ctypes.data:
            self._request.set_input_tensor(self._place, openvino.Tensor(whole, list(whole.shape), self._element))
        self._bound = whole


def _input_name(port: Any) -> str:  # noqa: ANN401 - openvino has no types
    """What an input of a segment is called."""
    names: set[str] = port.get_names()
    return next(iter(names & {INPUT, FEATURES, PREVIOUS}), min(names))


def _accepted(images: Array) -> Values:
    """An input as a contiguous array that may be written to: the runtime takes no other in place."""
    given = to_numpy(images)
    x = np.ascontiguousarray(given, dtype=np.float32 if given.dtype.kind == "f" else given.dtype)
    return x if x.flags.writeable else x.copy()


def _whole(x: Values, size: int) -> Values | None:
    """Return the first ``size`` rows of the array that ``x`` (n, ...) begins; None where there are not so many."""
    if len(x) == size:
        return x if x.flags.c_contiguous else None
    base = x.base
    if not isinstance(base, np.ndarray) or base.ctypes.data != x.ctypes.data or base.shape[1:] != x.shape[1:]:
        return None
    return base[:size] if len(base) >= size and base.flags.c_contiguous else None


def open_bundle(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> OpenVino:
    """The segments of a bundle."""
    del pool
    buckets = bundle.runtime.buckets if bundle.runtime is not None and bundle.runtime.buckets else BUCKETS
    paths = [bundle.path / name for name in bundle.files]
    return OpenVino(
        paths, threads, bundle.precision, buckets, _contents(bundle, bundle.files), longest=longest_of(bundle),
        several=len(bundle.inputs) > 1,
    )  # fmt: skip


def longest_of(bundle: Bundle) -> int:
    """Tokens of the longest text that a bundle takes; 0 for one of images."""
    if not bundle.inputs or not bundle.inputs[0].tokens:
        return 0
    return bundle.inputs[0].shape[0] if bundle.preprocessing is None else bundle.preprocessing.shape[0]


def open_static(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> Callable[[Array], Values]:
    """The static backbone: images (N, 3, H, W) to logits (N, C), compiled for each size of batch it is given."""
    del pool
    name = str(bundle.static)
    models = CompiledModels([bundle.path / name], threads, bundle.precision, _contents(bundle, [name]))
    requests: dict[tuple[int, int], Any] = {}
    longest = longest_of(bundle)

    def length(tokens: int) -> int:
        return min(length_of(tokens), max(longest, tokens))

    def run(images: Array | Mapping[str, Array]) -> Values:
        given = images if isinstance(images, Mapping) else {INPUT: images}
        first, *others = ((name, _accepted(values)) for name, values in given.items())
        x = first[1]
        if takes_tokens(bundle.inputs) and len(x):
            x = fitted(x, length(int(token_counts(x).max())))
        wanted = (len(x), x.shape[1] if longest else 0)
        if wanted not in requests:
            held, dropped = models.model(0, *wanted)
            for _, *size in dropped:
                requests.pop((size[0], size[1]), None)
            requests[wanted] = held, held.model.create_infer_request()
        held, request = requests[wanted]
        models.touch(held)
        request.set_tensor(INPUT, openvino.Tensor(x, shared_memory=True))
        for name, values in others:
            request.set_tensor(name, openvino.Tensor(values, shared_memory=True))
        request.infer(share_outputs=True)
        logits: Values = request.get_output_tensor(0).data.copy()
        return logits

    return run


def _contents(bundle: Bundle, names: Sequence[str]) -> list[str]:
    """What tells the files' contents from others, by the checksums that a bundle was read with; nothing without."""
    pairs = [(name, str(Path(name).with_suffix(".bin"))) for name in names]
    if any(name not in bundle.checksums for pair in pairs for name in pair):
        return []
    return ["".join(bundle.checksums[name] for name in pair) for pair in pairs]


def exporter(network: ShallowDeepNetwork, precision: Precision) -> Exporter:
    """What writes one model a segment, in OpenVINO's own format."""
    check_precision(precision.name)
    from shallowdeep.inference.openvino_export import OpenVinoExporter  # noqa: PLC0415 - it needs torch

    return OpenVinoExporter(network, precision, BUCKETS)
