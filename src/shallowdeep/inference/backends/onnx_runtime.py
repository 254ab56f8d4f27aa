"""ONNX Runtime on the CPU: one session a segment, all on one pool of threads.

Sessions with a pool each spin against each other: seven of them take ten times as long at batch 1 (docs/methods.md).
The shared pool belongs to the process and must be made before its first session; where another package was faster, each
session gets a pool that does not spin. Once it is made, ONNX Runtime refuses sessions of other code in the process that
do not set ``use_per_session_threads = False``; who cannot do that opens engines with ``pool="own-idle"``.

Memory is shared likewise: a session keeps what it once needed, and several that keep it each hold far more than the
static network does. Segments take theirs from one arena of the process, without patterns remembered for every size of
batch, which after compaction is hardly ever the same; other sessions in the process keep their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as pybind_state

from shallowdeep.errors import CheckpointError, one_line
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.inference.backends.backend import CPU_MACS_PER_BYTE, NOTHING, PREVIOUS, Exporter
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.precision import Precision, f32_alone
from shallowdeep.inference.text_input import fitted, token_counts
from shallowdeep.input_spec import takes_tokens
from shallowdeep.machine import available_cores

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

onnxruntime.disable_telemetry_events()  # it sends none from Linux
Floats = NDArray[np.float32]
SHARED, OWN, OWN_IDLE = "shared", "own", "own-idle"
POOLS = (SHARED, OWN, OWN_IDLE)  # one for the process; one a session, which spins; one a session, which does not


def _is_error(name: str) -> bool:
    """Whether the runtime calls one of its errors so; they have no common ancestor but Exception."""
    kind = getattr(pybind_state, name)
    return isinstance(kind, type) and issubclass(kind, Exception)


_PROVIDERS = ("CPUExecutionProvider",)
_ERRORS = (RuntimeError, *(getattr(pybind_state, name) for name in dir(pybind_state) if _is_error(name)))


class OnnxRuntime:
    """Segments as ONNX Runtime sessions.

    Args:
        paths: one file a segment; each has the input ``x``, where its head is cascaded ``previous`` too, and the
            outputs ``features``, ``logits``, the last ``logits`` alone.
        threads: of the pool; None for one a core.
        pool: one of `POOLS`.
    """

    def __init__(self, paths: Sequence[Path], threads: int | None = None, pool: str = SHARED) -> None:
        _share_memory()
        self.macs_per_byte = CPU_MACS_PER_BYTE
        self.largest: int | None = None
        self._sessions = [session(path, threads, pool, _segment_options) for path in paths]
        self._outputs = [[output.name for output in opened.get_outputs()] for opened in self._sessions]
        named = [[entry.name for entry in opened.get_inputs()] for opened in self._sessions]
        self._cascaded = [PREVIOUS in names for names in named]
        self._beside = [tuple(name for name in names if name not in {"x", PREVIOUS}) for names in named]
        self.beside = tuple(dict.fromkeys(name for names in self._beside for name in names))

    def length(self, tokens: int) -> int:
        """So many."""
        return tokens

    def rows(self, samples: int) -> int:
        """So many."""
        return samples

    def accept(self, images: Array) -> NDArray[Any]:
        """An input as a contiguous float32 or int64 array on the host."""
        return accepted(images)

    def run(
        self, number: int, x: Floats, previous: Floats | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Floats, Floats]:
        """Run one session."""
        inputs: dict[str, Any] = {"x": x, PREVIOUS: previous} if self._cascaded[number] else {"x": x}
        for name in self._beside[number]:
            inputs[name] = beside[name]
        try:
            outputs = self._sessions[number].run(self._outputs[number], inputs)
        except _ERRORS as error:
            raise CheckpointError(
                f"Expected segment {number} to run in ONNX Runtime on {len(x)} images, got {one_line(error)}"
            ) from error
        return outputs[0], outputs[-1]


def accepted(images: Array) -> NDArray[Any]:
    """An input as a contiguous array on the host: numbers as float32, anything else as it is."""
    given = to_numpy(images)
    return np.ascontiguousarray(given, dtype=np.float32 if given.dtype.kind == "f" else given.dtype)


def _options() -> Any:  # noqa: ANN401 - onnxruntime has no types
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal: errors are raised, and the first try may fail
    return options


def _segment_options() -> Any:  # noqa: ANN401 - onnxruntime has no types
    options = _options()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    return options


@cache
def _share_memory() -> None:
    """Make the arena of the process, once: each registration would make another and keep those before it."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    with suppress(*_ERRORS):
        onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({}))


def session(
    path: Path,
    threads: int | None,
    pool: str = SHARED,
    options: Callable[[], Any] = _options,
) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """A session on the CPU.

    A process either has the shared pool, and then every session in it must use that, or it has not, and none can:
    where the pool asked for cannot be had, the session gets the other kind.

    Args:
        path: an ONNX file.
        threads: of the pool; None for one a core.
        pool: one of `POOLS`; the shared one keeps the threads it was first made with.
        options: makes those that threads and pool are added to.

    Raises:
        CheckpointError: the runtime refuses the file, such as an older one a newer kind of file.
    """
    count = threads or available_cores()
    if pool == SHARED:
        with suppress(*_ERRORS):  # it is there already, or it can no longer be made
            onnxruntime.set_global_thread_pool_sizes(count, 1)
    shared, own = options(), options()
    shared.use_per_session_threads = False
    own.intra_op_num_threads, own.inter_op_num_threads = count, 1
    own.add_session_config_entry("session.intra_op.allow_spinning", "1" if pool == OWN else "0")
    wanted, other = (shared, own) if pool == SHARED else (own, shared)
    try:
        return onnxruntime.InferenceSession(path, wanted, providers=_PROVIDERS, enable_fallback=0)
    except _ERRORS:
        pass
    try:
        return onnxruntime.InferenceSession(path, other, providers=_PROVIDERS, enable_fallback=0)
    except _ERRORS as error:
        raise CheckpointError(
            f"Expected a model that onnxruntime can run in {path}, got {' '.join(str(error).split())}"
        ) from error


def open_bundle(bundle: Bundle, threads: int | None, pool: str = SHARED) -> OnnxRuntime:
    """The segments of a bundle."""
    return OnnxRuntime([bundle.path / name for name in bundle.files], threads, pool)


def open_static(bundle: Bundle, threads: int | None, pool: str = SHARED) -> Callable[[Array], Floats]:
    """The static backbone: images (N, 3, H, W) to logits (N, C)."""
    opened = session(bundle.path / str(bundle.static), threads, pool)
    text = takes_tokens(bundle.inputs)

    def run(images: Array | Mapping[str, Array]) -> Floats:
        feed = static_feed(images)
        if text and len(feed["x"]):
            feed["x"] = fitted(feed["x"], int(token_counts(feed["x"]).max()))
        logits: Floats = opened.run(None, feed)[0]
        return logits

    return run


def static_feed(images: Array | Mapping[str, Array]) -> dict[str, NDArray[Any]]:
    """A batch by the names of a static network's file: the first input is ``x``."""
    if not isinstance(images, Mapping):
        return {"x": accepted(images)}
    first, *others = images.items()
    return {"x": accepted(first[1]), **{name: accepted(value) for name, value in others}}


def exporter(network: ShallowDeepNetwork, precision: Precision) -> Exporter:
    """What writes one ONNX file a segment, with a batch of any size."""
    f32_alone(precision, "onnxruntime")
    from shallowdeep.inference.onnx_export import OnnxExporter  # noqa: PLC0415 - it needs torch

    return OnnxExporter(network)
