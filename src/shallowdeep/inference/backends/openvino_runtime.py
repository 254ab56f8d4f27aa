"""OpenVINO on the CPU: each segment compiled for a few sizes of batch, tensors handed on without a copy.

With a batch of any size the runtime prepares its kernels again for every new number of survivors. So a batch is padded
up to the next of `BUCKETS`, and samples leave it only where that reaches a smaller one. A model is compiled when its
size is first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from numpy.typing import NDArray

from shallowdeep.errors import CheckpointError, one_line
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.inference.backends.backend import CPU_MACS_PER_BYTE, Exporter
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.openvino_graph import FEATURES, INPUT, LOGITS, PREVIOUS
from shallowdeep.inference.precision import BF16, F32, INT8, Precision
from shallowdeep.machine import available_cores

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

POOLS = ("process",)
BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # sizes of batch that models are compiled for
_HINTS = {F32: "f32", BF16: "bf16", INT8: "f32"}  # of what is not quantised
_ERRORS = (RuntimeError,)

Values = NDArray[Any]


def bucket_of(samples: int) -> int:
    """Return the smallest size of `BUCKETS` that holds so many samples; the largest for more."""
    return next((size for size in BUCKETS if size >= samples), BUCKETS[-1])


class OpenVino:
    """Segments as OpenVINO models.

    Args:
        paths: one file a segment, see `shallowdeep.inference.openvino_graph.cut`.
        threads: of the runtime; None for one a core.
        precision: ``f32``, ``bf16`` or ``int8``.
    """

    def __init__(self, paths: Sequence[Path], threads: int | None, precision: str) -> None:
        self.macs_per_byte = CPU_MACS_PER_BYTE
        self.largest: int | None = BUCKETS[-1]
        self._core = openvino.Core()
        self._models = [_read(self._core, path) for path in paths]
        self._options = options(threads, precision)
        self._compiled: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()
        self._own = threading.local()  # requests hold a batch's tensors: each thread has its own

    def rows(self, samples: int) -> int:
        """Return how many samples are computed for so many."""
        return bucket_of(samples)

    def accept(self, images: Array) -> Values:
        """Images as a contiguous float32 array on the host."""
        return np.ascontiguousarray(to_numpy(images), dtype=np.float32)

    def run(self, number: int, x: Values, previous: Values | None = None) -> tuple[Values, Values]:
        """Run one segment; what it returns stays as it is until the same thread runs the segment again."""
        samples = len(x)
        size = bucket_of(samples)
        request = self._request(number, size)
        request.features(x, size)
        if request.previous is not None and previous is not None:
            request.previous[:samples] = previous
        request.infer()
        return request.outputs[-1][:samples], request.outputs[0][:samples]

    def _request(self, number: int, size: int) -> _Request:
        requests: dict[tuple[int, int], _Request] = self._own.__dict__.setdefault("requests", {})
        if (number, size) not in requests:
            with self._lock:
                if (number, size) not in self._compiled:
                    model = sized(self._models[number], size)
                    self._compiled[number, size] = self._core.compile_model(model, "CPU", self._options)
            requests[number, size] = _Request(self._compiled[number, size])
        return requests[number, size]


class _Request:
    """A segment at one size of batch, with the tensors it reads and writes.

    Args:
        compiled: the model.

    Attributes:
        previous: (size, C) that cascaded heads read; None where there are none.
        outputs: logits (size, C) and, but for the last segment, features (size, ...).
    """

    def __init__(self, compiled: Any) -> None:  # noqa: ANN401 - openvino has no types
        self._request = compiled.create_infer_request()
        names = [next(iter(port.get_names() & {INPUT, FEATURES, PREVIOUS})) for port in compiled.inputs]
        self._place = next(place for place, name in enumerate(names) if name != PREVIOUS)
        self._input: Values = self._request.get_input_tensor(self._place).data
        self.previous: Values | None = None
        if PREVIOUS in names:
            self.previous = self._request.get_input_tensor(names.index(PREVIOUS)).data
        ordered = sorted(range(len(compiled.outputs)), key=lambda k: LOGITS not in compiled.outputs[k].get_names())
        self.outputs: list[Values] = [self._request.get_output_tensor(place).data for place in ordered]
        self.infer = self._request.infer
        self._read: Values | None = None  # the tensor that is read where it is not our own

    def features(self, x: Values, size: int) -> None:
        """Let the segment read ``x`` (n, ...): where it begins a larger array, in place, else a copy."""
        whole = _whole(x, size)
        if whole is None:
            self._input[: len(x)] = x
            whole = self._input
        if self._read is None or whole.ctypes.data != self._read.ctypes.data:
            element = self._request.get_input_tensor(self._place).element_type
            self._request.set_input_tensor(self._place, openvino.Tensor(whole, list(whole.shape), element))
            self._read = whole


def _whole(x: Values, size: int) -> Values | None:
    """Return the first ``size`` rows of the array that ``x`` (n, ...) begins; None where there are not so many."""
    if len(x) == size:
        return x if x.flags.c_contiguous else None
    base = x.base
    if not isinstance(base, np.ndarray) or base.ctypes.data != x.ctypes.data or base.shape[1:] != x.shape[1:]:
        return None
    return base[:size] if len(base) >= size and base.flags.c_contiguous else None


def options(threads: int | None, precision: str) -> dict[str, str]:
    """Return the runtime's settings for one batch at a time."""
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads or available_cores()),
    }


def sized(model: Any, size: int) -> Any:  # noqa: ANN401 - openvino has no types
    """Return a copy of a model for batches of one size."""
    fixed = model.clone()
    fixed.reshape({port: [size, *list(port.get_partial_shape())[1:]] for port in fixed.inputs})
    return fixed


def _read(core: Any, path: Path) -> Any:  # noqa: ANN401 - openvino has no types
    try:
        return core.read_model(path)
    except _ERRORS as error:
        raise CheckpointError(f"Expected a model that OpenVINO can run in {path}, got {one_line(error)}") from error


def open_bundle(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> OpenVino:
    """The segments of a bundle."""
    del pool
    return OpenVino([bundle.path / name for name in bundle.files], threads, bundle.precision)


def open_static(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> Callable[[Array], Values]:
    """The static backbone: images (N, 3, H, W) to logits (N, C), compiled for each size of batch it is given."""
    del pool
    core = openvino.Core()
    model = _read(core, bundle.path / str(bundle.static))
    settings, requests = options(threads, bundle.precision), dict[int, Any]()

    def run(images: Array) -> Values:
        x = np.ascontiguousarray(to_numpy(images), dtype=np.float32)
        if len(x) not in requests:
            requests[len(x)] = core.compile_model(sized(model, len(x)), "CPU", settings).create_infer_request()
        request = requests[len(x)]
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.infer()
        logits: Values = request.get_output_tensor(0).data.copy()
        return logits

    return run


def exporter(network: ShallowDeepNetwork, precision: Precision) -> Exporter:
    """What writes one model a segment, in OpenVINO's own format."""
    from shallowdeep.inference.openvino_export import OpenVinoExporter  # noqa: PLC0415 - it needs torch

    return OpenVinoExporter(network, precision)
