"""OpenVINO models compiled for sizes of batch: from disk where they were compiled before, few enough for the memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

from shallowdeep.errors import CheckpointError, ConfigurationError, one_line
from shallowdeep.files import sha256_of
from shallowdeep.inference.backends.compiled_files import Kept, compiled_files, key_of
from shallowdeep.inference.openvino_core import core, openvino
from shallowdeep.inference.openvino_graph import FEATURES, INPUT, PREVIOUS
from shallowdeep.inference.precision import BF16, F32, INT8
from shallowdeep.instruction_set import processor_flags
from shallowdeep.machine import available_cores

MEMORY_LIMIT = 2**30  # bytes of compiled models that an engine keeps, as `estimated_bytes` has them
MEMORY_VARIABLE = "SHALLOWDEEP_MEMORY_MB"  # another limit, in MB of 2^20 bytes
_MIB = 2**20
_HINTS = {F32: "f32", BF16: "bf16", INT8: "f32"}  # of what is not quantised
_BYTES = {F32: 4, BF16: 2, INT8: 1}  # a value that is computed
_MORE = 1.3  # what is resident over weights and values, as VGG-16 has it in each precision (docs/reference)
_GRAPH_BYTES = 6_000  # an operation's own
_ERRORS = (RuntimeError,)

Graph = Any  # openvino.Model, which has no types
Key = tuple[int, int, int]
"""Number of a model, samples of a batch, and tokens of its texts; 0 where sizes of samples are fixed."""


@dataclass
class Held:
    """A compiled model that is kept.

    Attributes:
        model: compiled.
        memory: estimated bytes that it takes.
        used: when it was last used, as a count.
    """

    model: Any
    memory: int
    used: int = 0


class CompiledModels:
    """Models, each compiled for a size of batch when that is first needed.

    Args:
        paths: of the models.
        threads: of the runtime; None for one a core.
        precision: ``f32``, ``bf16`` or ``int8``.
        contents: what tells each file's content from others, such as a checksum; found out where it is not given.
        limit: bytes that compiled models may take; the least recently used ones are dropped beyond it. None for what
            ``SHALLOWDEEP_MEMORY_MB`` says, else `MEMORY_LIMIT`.

    Attributes:
        limit: see above; may be set.
        crowded: whether the limit is too low for the batches that come: a model was dropped that the one under way had
            used, or as many as there are files were compiled again after they were dropped.

    Raises:
        ConfigurationError: a precision that this processor cannot do.
        CheckpointError: a file that the runtime cannot read, now or when it is compiled.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        threads: int | None,
        precision: str,
        contents: Sequence[str] = (),
        limit: int | None = None,
    ) -> None:
        check_precision(precision)
        self.limit = memory_limit() if limit is None else limit
        self.crowded = False
        self._dropped: set[Key] = set()
        self._again = 0
        self._paths, self._contents = tuple(paths), list(contents)
        self._precision, self._options = precision, options(threads, precision)
        self._read: dict[int, Graph] = {}
        self._held: dict[Key, Held] = {}
        self._files = compiled_files("openvino")
        self._lock = threading.Lock()
        self._turn = 0

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the network's inputs that the models read besides features and logits."""
        names = [min(port.get_names()) for number in range(len(self._paths)) for port in self._graph(number).inputs]
        return tuple(dict.fromkeys(name for name in names if name not in {INPUT, FEATURES, PREVIOUS}))

    @property
    def memory(self) -> int:
        """Estimated bytes that the compiled models take."""
        return sum(held.memory for held in list(self._held.values()))

    def model(self, number: int, size: int, length: int = 0) -> tuple[Held, list[Key]]:
        """Return a model compiled for a size, and those that were dropped for it."""
        key = number, size, length
        with self._lock:
            if key not in self._held:
                self._again += key in self._dropped
                self.crowded |= self._again >= len(self._paths)
                self._held[key] = self._compiled(key)
            held = self._held[key]
            self.touch(held)
            return held, self._make_room()

    def nearest(self, number: int, size: int, length: int = 0) -> int:
        """Return the size to run at: the one asked for, unless there is no room for it and a larger one will do.

        A larger one will do up to twice the size: padding costs less than dropping what the next batch needs.
        """
        held = {key: one.memory for key, one in list(self._held.items())}
        if (number, size, length) in held or sum(held.values()) + max(held.values(), default=0) <= self.limit:
            return size
        wide = (rows for name, rows, tokens in held if name == number and tokens == length)
        return min((rows for rows in wide if size < rows <= 2 * size), default=size)

    def bytes_per_sample(self) -> int:
        """Estimated bytes that the values of one sample take in all models together, each alive at once."""
        try:
            found = [
                [estimated_bytes(_fixed(self._graph(number), size, 0), self._precision) for size in (1, 2)]
                for number in range(self.count)
            ]
        except _ERRORS:  # told when it is compiled
            return 1
        return max(1, sum(two - one for one, two in found))

    @property
    def count(self) -> int:
        """How many models there are."""
        return len(self._paths)

    def keeps(self, held: Held) -> bool:
        """Whether a model was not dropped since it was given out."""
        return any(kept is held for kept in list(self._held.values()))

    def touch(self, held: Held) -> None:
        """Note that a model is used."""
        held.used = self._turn = self._turn + 1

    @property
    def widest(self) -> int:
        """Most samples that a model was compiled for, and not dropped for good."""
        return max((size for _, size, _ in {*self._held, *self._dropped}), default=0)

    def drop_above(self, samples: int) -> list[Key]:
        """Drop models for more samples, for good; return which. What was dropped before counts no more."""
        with self._lock:
            dropped = [key for key in self._held if key[1] > samples]
            for key in dropped:
                del self._held[key]
            self._dropped.clear()
            self.crowded, self._again = False, 0
            return dropped

    def _make_room(self) -> list[Key]:
        """Drop least recently used models, but for the last, until the rest is within the limit."""
        dropped: list[Key] = []
        while len(self._held) > 1 and self.memory > self.limit:
            oldest = min(self._held, key=lambda key: self._held[key].used)
            dropped.append(oldest)
            self._dropped.add(oldest)
            self.crowded |= self._held.pop(oldest).used > self._turn - len(self._paths)
        return dropped

    def _compiled(self, wanted: Key) -> Held:
        number, size, length = wanted
        key = self._key(number, size, length)
        kept = self._files.read(key)
        if kept is not None:
            try:
                return Held(core().import_model(BytesIO(kept.blob), "CPU", self._options), kept.memory)
            except _ERRORS:  # another build of the runtime wrote it
                self._files.drop(key)
        graph = sized(self._graph(number), size, length)
        memory = estimated_bytes(graph, self._precision)
        try:
            model = core().compile_model(graph, "CPU", self._options)
            if self._files.takes(weight_bytes(graph, self._precision)):
                blob = BytesIO()
                model.export_model(blob)
                self._files.write(key, Kept(blob.getvalue(), memory))
        except _ERRORS as error:
            raise _cannot_run(self._paths[number], error) from error
        return Held(model, memory)

    def _graph(self, number: int) -> Graph:
        if number not in self._read:
            try:
                self._read[number] = core().read_model(self._paths[number])
            except _ERRORS as error:
                raise _cannot_run(self._paths[number], error) from error
        return self._read[number]

    def _key(self, number: int, size: int, length: int = 0) -> str:
        """Everything that a compiled model depends on: content, size, settings, runtime, processor."""
        if not self._contents:
            self._contents = [content_of(path) for path in self._paths]
        settings = ";".join(f"{name}={value}" for name, value in sorted(self._options.items()))
        processor = " ".join(sorted(processor_flags()))
        return key_of(
            self._contents[number], f"{size}x{length}" if length else str(size), settings, openvino.get_version(),
            str(core().get_property("CPU", "FULL_DEVICE_NAME")), processor,
        )  # fmt: skip


def content_of(path: Path) -> str:
    """Return what tells a model's files from others: a checksum of each."""
    weights = path.with_suffix(".bin")
    return sha256_of(path) + (sha256_of(weights) if weights.exists() else "")


def precisions() -> tuple[str, ...]:
    """Return the precisions that the runtime can compute in on this processor, of ``f32``, ``bf16``, ``int8``."""
    able = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, needed in ((F32, "FP32"), (BF16, "BF16"), (INT8, "INT8")) if needed in able)


def check_precision(precision: str) -> None:
    """Refuse a precision that the runtime would replace by another one on this processor.

    Raises:
        ConfigurationError: naming those that it can.
    """
    able = precisions()
    if precision not in able:
        raise ConfigurationError(
            f"Expected a precision that openvino can compute in on this processor, {' or '.join(able)}, "
            f"got {precision!r}"
        )


def memory_limit() -> int:
    """Return the bytes of compiled models that an engine may keep.

    Raises:
        ConfigurationError: ``SHALLOWDEEP_MEMORY_MB`` is no number above 0.
    """
    given = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not given:
        return MEMORY_LIMIT
    if not given.isdecimal() or not int(given):
        raise ConfigurationError(f"Expected {MEMORY_VARIABLE} to be a whole number above 0, got {given!r}")
    return int(given) * _MIB


def options(threads: int | None, precision: str) -> dict[str, str]:
    """Return the runtime's settings for one batch at a time."""
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads or available_cores()),
    }


def sized(graph: Graph, size: int, length: int = 0) -> Graph:
    """Return a copy of a model for batches of one size, and texts of one length, which takes an input's open sides."""
    return _fixed(graph, size, length)


def _fixed(graph: Graph, size: int, length: int) -> Graph:
    fixed = graph.clone()

    def shape(port: Any) -> list[Any]:  # noqa: ANN401 - openvino has no types
        _, *sides = list(port.get_partial_shape())
        return [size, *(length if length and side.is_dynamic else side for side in sides)]

    fixed.reshape({port: shape(port) for port in fixed.inputs})
    return fixed


def estimated_bytes(graph: Graph, precision: str) -> int:
    """Return about how many bytes a model takes once it is compiled: weights, values alive at once, the graph itself.

    Args:
        graph: of fixed shapes.
        precision: that it computes in.
    """
    alive, operations = 0, 0
    for node in graph.get_ops():
        if node.get_type_name() == "Constant":
            continue
        operations += 1
        values = sum(prod(port.get_shape()) for port in node.outputs())
        read = [port.get_source_output() for port in node.inputs()]
        values += sum(prod(port.get_shape()) for port in read if port.get_node().get_type_name() != "Constant")
        alive = max(alive, values)
    return int(_MORE * (weight_bytes(graph, precision) + alive * _BYTES[precision]) + operations * _GRAPH_BYTES)


def weight_bytes(graph: Graph, precision: str) -> int:
    """Return the bytes of a model's weights once it is compiled."""
    stored = sum(int(node.get_byte_size()) for node in graph.get_ops() if node.get_type_name() == "Constant")
    return stored // 2 if precision == BF16 else stored


def _cannot_run(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"Expected a model that OpenVINO can run in {path}, got {one_line(error)}")
