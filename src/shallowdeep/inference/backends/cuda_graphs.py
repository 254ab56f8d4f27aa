"""PyTorch on an NVIDIA GPU: each segment recorded as a CUDA graph for a few sizes of batch, and replayed.

A graph reads and writes the same tensors each time. So a batch is padded up to the next of `BUCKETS` in a tensor that
is kept for that size, and what leaves a segment is what the next one reads: there is no copy unless samples left the
batch. Only `CudaRecorder` needs a GPU; all else runs, and is tested, with `PlainRecorder` on the CPU.

It was not run on a GPU when it was written: its tests there skip where there is none. Bundles hold the network as
`shallowdeep.load` reads it, like those of ``torch``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from shallowdeep.checkpoint import load
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import Array
from shallowdeep.inference.backends.backend import GPU_MACS_PER_BYTE, NOTHING
from shallowdeep.inference.backends.torch_eager import NETWORK, NetworkExporter
from shallowdeep.inference.backends.torch_eager import exporter as torch_exporter
from shallowdeep.inference.beside import network_length
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.precision import BF16, F32, Precision
from shallowdeep.inference.segments import Segment
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.network import ShallowDeepNetwork

POOLS = ("process",)
BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # sizes of batch that graphs are recorded for
WARM_UPS = 3  # runs before a recording, in which libraries choose their kernels and take their memory
_MAP_AXES = 4

Work = Callable[[], None]


class Recorder(Protocol):
    """Makes work repeatable.

    Attributes:
        device: where tensors have to be.
    """

    device: torch.device

    def record(self, work: Work) -> Work:
        """Do some work on tensors that are kept; returns what does it again on whatever they hold then."""


class PlainRecorder:
    """Does the work itself each time, on the CPU: for tests."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def record(self, work: Work) -> Work:
        """Do it once, and return it."""
        work()
        return work


class CudaRecorder:
    """Records CUDA graphs; what they need in between is memory that all of them share.

    Graphs run one after another on one stream, and leave nothing in that memory: what they return is in tensors made
    before.

    Raises:
        ConfigurationError: there is no CUDA GPU.
    """

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise ConfigurationError(
                "Expected a CUDA GPU for the backend 'cuda-graphs', found none; export for openvino or onnxruntime"
            )
        self.device = torch.device("cuda", torch.cuda.current_device())
        self._memory = torch.cuda.graph_pool_handle()

    def record(self, work: Work) -> Work:
        """Warm up on a stream aside, as recordings must, then record."""
        aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(self.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            work()
        graph.replay()  # recording computes nothing
        replay: Work = graph.replay
        return replay


@dataclass(frozen=True)
class _Recording:
    """A segment at one size of batch.

    Attributes:
        replay: runs it.
        x: (size, ...) that it reads.
        previous: (size, C) that a cascaded head reads.
        features: (size, ...) that it writes; the last segment's are the logits.
        logits: (size, C) float32 that it writes.
    """

    replay: Work
    x: Tensor
    previous: Tensor | None
    features: Tensor
    logits: Tensor


class CudaGraphs:
    """Segments on the network's own modules, recorded when a size of batch is first needed.

    Each thread has recordings of its own, since these keep a batch's tensors.

    Args:
        network: put in eval mode, channels last and where the recorder has its tensors.
        segments: from `plan_segments`.
        precision: ``f32``, or ``bf16`` by autocast.
        recorder: of graphs.
        buckets: sizes of batch, ascending.
    """

    def __init__(
        self,
        network: ShallowDeepNetwork,
        segments: Sequence[Segment],
        precision: str,
        recorder: Recorder,
        buckets: Sequence[int] = BUCKETS,
    ) -> None:
        self._network = _placed(network, recorder.device)
        self._segments, self._precision, self._recorder = tuple(segments), precision, recorder
        self.macs_per_byte = GPU_MACS_PER_BYTE
        self.largest: int | None = buckets[-1]
        self.beside: tuple[str, ...] = ()
        self._sizes = [next(size for size in buckets if size >= count) for count in range(buckets[-1] + 1)]
        self._own = threading.local()
        self._lock = threading.Lock()  # one recording at a time

    def length(self, tokens: int) -> int:
        """So many."""
        return tokens

    def rows(self, samples: int) -> int:
        """How many samples are computed for so many."""
        return self._sizes[samples]

    def accept(self, images: Array) -> Tensor:
        """Images as a float32 tensor on the device."""
        return torch.as_tensor(images, dtype=torch.float32, device=self._recorder.device)

    @torch.no_grad()
    def run(
        self, number: int, x: Tensor, previous: Tensor | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Tensor, Tensor]:
        """Run one segment; what it returns stays as it is until the same thread runs the segment again."""
        del beside  # `exporter` refuses networks that read some
        samples = len(x)
        size = self._sizes[samples]
        recordings: dict[tuple[int, int], _Recording] = self._own.__dict__.setdefault("recordings", {})
        recording = recordings.get((number, size))
        if recording is None:
            read = recordings[number - 1, size].features if (number - 1, size) in recordings else None
            recording = recordings[number, size] = self._recorded(number, size, x, previous, read)
        if recording.x.data_ptr() != x.data_ptr():
            recording.x[:samples].copy_(x)
        if recording.previous is not None and previous is not None:
            recording.previous[:samples].copy_(previous)
        recording.replay()
        return recording.features[:samples], recording.logits[:samples]

    def _recorded(self, number: int, size: int, x: Tensor, previous: Tensor | None, read: Tensor | None) -> _Recording:
        """Make a segment's tensors and record it.

        Args:
            number: of the segment.
            size: of the batch.
            x: (n, ...) that says how one sample looks.
            previous: (n, C) likewise, for a head that reads it.
            read: what the segment before writes at this size, which is read in place; None to make a tensor.
        """
        with self._lock:
            if read is None:
                read = _kept(x, size)
            before = None if previous is None or not self._cascaded(number) else _kept(previous, size)
            features, logits = self._computed(number, read, before)
            out = torch.zeros_like(features), torch.zeros_like(logits, dtype=torch.float32)

            def work() -> None:
                features, logits = self._computed(number, read, before)
                out[0].copy_(features)
                out[1].copy_(logits)

            replay = self._recorder.record(work)
        last = self._segments[number].exit == len(self._network.exits) - 1
        return _Recording(replay, read, before, out[1] if last else out[0], out[1])

    def _computed(self, number: int, x: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and logits of a segment."""
        network, segment = self._network, self._segments[number]
        with torch.no_grad(), _lower(self._recorder.device, self._precision):
            for stage in network.stages[segment.first : segment.last + 1]:
                x = stage(network.backbone, x)
            if segment.exit == len(network.exits) - 1:
                return x, x
            return x, network.internal_classifiers[segment.exit](x, previous)

    def _cascaded(self, number: int) -> bool:
        exit_ = self._segments[number].exit
        return exit_ < len(self._network.exits) - 1 and self._network.exits[exit_].cascaded


def _placed(network: ShallowDeepNetwork, device: torch.device) -> ShallowDeepNetwork:
    """The network, ready to be recorded."""
    return network.eval().to(device).to(memory_format=torch.channels_last)


def _kept(example: Tensor, size: int) -> Tensor:
    """Zeros (size, ...) of an example's type and place, maps with channels last: padding has to be finite."""
    made = example.new_zeros((size, *example.shape[1:]))
    return made.contiguous(memory_format=torch.channels_last) if made.ndim == _MAP_AXES else made


def _lower(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Autocast where bf16 is asked for; weights are not cached, since a recording would keep them."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16, cache_enabled=False)


def open_bundle(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> CudaGraphs:
    """The segments of a bundle on the GPU; ``threads`` are of the CPU and do not matter."""
    del threads, pool
    recorder = CudaRecorder()
    return CudaGraphs(load(bundle.path / NETWORK), bundle.segments, bundle.precision, recorder)


def open_static(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> Callable[[Array], Tensor]:
    """The bundle's backbone: images (N, 3, H, W) to logits (N, C), recorded for each size of batch it is given."""
    del threads, pool
    recorder = CudaRecorder()
    return recorded_backbone(load(bundle.path / NETWORK), bundle.precision, recorder)


def recorded_backbone(network: ShallowDeepNetwork, precision: str, recorder: Recorder) -> Callable[[Array], Tensor]:
    """The backbone as one recording for each size of batch it is given.

    Args:
        network: see `CudaGraphs`.
        precision: ``f32`` or ``bf16``.
        recorder: of graphs.
    """
    backbone = _placed(network, recorder.device).backbone
    recordings: dict[int, tuple[Work, Tensor, Tensor]] = {}

    def record(images: Tensor) -> tuple[Work, Tensor, Tensor]:
        x = _kept(images, len(images))
        with _lower(recorder.device, precision):
            out = torch.zeros_like(logits_of(backbone(x)), dtype=torch.float32)

        def work() -> None:
            with torch.no_grad(), _lower(recorder.device, precision):
                out.copy_(logits_of(backbone(x)))

        return recorder.record(work), x, out

    @torch.no_grad()
    def run(images: Array) -> Tensor:
        given = torch.as_tensor(images, dtype=torch.float32, device=recorder.device)
        if len(given) not in recordings:
            recordings[len(given)] = record(given)
        replay, x, out = recordings[len(given)]
        x.copy_(given)
        replay()
        return out.clone()

    return run


def exporter(network: ShallowDeepNetwork, precision: Precision) -> NetworkExporter:
    """What writes a network whose code a bundle may name."""
    if precision.name not in {F32, BF16}:
        raise ConfigurationError(
            f"Expected precision f32 or bf16 for cuda-graphs, got {precision.name!r}; openvino has all three"
        )
    if len(network.inputs) > 1 or any(stage.beside for stage in network.stages) or network_length(network):
        raise ConfigurationError(
            "Expected a network of images alone for cuda-graphs, got one of several inputs or text"
        )
    return torch_exporter(network, Precision())
