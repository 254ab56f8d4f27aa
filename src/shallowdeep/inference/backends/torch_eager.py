"""Eager PyTorch: the reference, on any device. Its bundles hold the network as `shallowdeep.load` reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shallowdeep.artifacts import MODEL_MANIFEST, MODEL_WEIGHTS
from shallowdeep.checkpoint import load
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import Array
from shallowdeep.inference.backends.backend import CPU_MACS_PER_BYTE, GPU_MACS_PER_BYTE, NOTHING, Written
from shallowdeep.inference.beside import masked, names_of, read_beside
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.precision import Precision, f32_alone
from shallowdeep.inference.runtime_record import RuntimeRecord
from shallowdeep.inference.segments import Segment
from shallowdeep.models.registry import is_trusted
from shallowdeep.progress import Bar
from shallowdeep.sdn.inputs import Inputs, run_on
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.saving import save

NETWORK = "network"
POOLS = ("process",)


class TorchEager:
    """Segments on the network's own modules, where the network is.

    Args:
        network: put in eval mode whenever it is run.
        segments: from `plan_segments`.
    """

    def __init__(self, network: ShallowDeepNetwork, segments: Sequence[Segment]) -> None:
        self._network = network.eval()
        self._segments = tuple(segments)
        on_cpu = next(network.parameters()).device.type == "cpu"
        self.macs_per_byte = CPU_MACS_PER_BYTE if on_cpu else GPU_MACS_PER_BYTE
        self.largest: int | None = None
        self.beside = tuple({name: None for segment in segments for name in read_beside(network, segment)})

    def length(self, tokens: int) -> int:
        """So many."""
        return tokens

    def rows(self, samples: int) -> int:
        """So many."""
        return samples

    def accept(self, images: Array) -> Tensor:
        """An input as a tensor on the network's device: numbers as float32, anything else as it is."""
        device = next(self._network.parameters()).device
        return _accepted(images, device)

    @torch.inference_mode()
    def run(
        self, number: int, x: Tensor, previous: Tensor | None = None, beside: Mapping[str, Tensor] = NOTHING
    ) -> tuple[Tensor, Tensor]:
        """Run the stages of one segment, and the exit's head."""
        network, segment = self._network, self._segments[number]
        if network.training:  # somebody trained it meanwhile
            network.eval()
        inputs = beside if number or not network.inputs else {network.inputs[0].name: x, **beside}
        for stage in network.stages[segment.first : segment.last + 1]:
            x = stage(network.backbone, x, inputs)
        if segment.exit == len(network.exits) - 1:
            return x, x
        head = network.internal_classifiers[segment.exit]
        mask = masked(head, inputs, named=bool(names_of(network)))
        return x, head(x, previous) if mask is None else head(x, previous, mask)


def open_bundle(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> TorchEager:
    """The segments of a bundle on the CPU; ``threads`` are the process's, as torch has but one pool."""
    del pool
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchEager(load(bundle.path / NETWORK), bundle.segments)


def open_static(bundle: Bundle, threads: int | None, pool: str = POOLS[0]) -> Callable[[Array], Array]:
    """The bundle's backbone: images (N, 3, H, W) to logits (N, C)."""
    del pool
    if threads is not None:
        torch.set_num_threads(threads)
    backbone = load(bundle.path / NETWORK).backbone.eval()

    @torch.inference_mode()
    def run(images: Array | Mapping[str, Array]) -> Tensor:
        if isinstance(images, Mapping):
            given: Inputs = {name: _accepted(values) for name, values in images.items()}
        else:
            given = _accepted(images)
        logits: Tensor = logits_of(run_on(backbone, given))
        return logits

    return run


def _accepted(values: Array, device: torch.device | str = "cpu") -> Tensor:
    """An input as a tensor: numbers as float32, anything else as it is."""
    given = torch.as_tensor(values, device=device).detach()
    return given.to(torch.float32) if given.is_floating_point() else given


class NetworkExporter:
    """Writes the network itself: its backbone is in it, so that ``static`` leaves nothing out.

    Args:
        network: with a name that bundles may run code of.
    """

    def __init__(self, network: ShallowDeepNetwork) -> None:
        self._network = network
        self.uncut: Callable[[Any], Any] | None = None

    def write(self, segments: Sequence[Segment], directory: Path, *, static: bool, bar: Bar) -> Written:
        """Write the network once for all segments."""
        before = self._network.weights
        save(self._network, directory / NETWORK)
        self._network.weights = before  # the bundle's copy is not what policies are made for
        bar.advance(len(segments) + static)
        weights, manifest = f"{NETWORK}/{MODEL_WEIGHTS}", f"{NETWORK}/{MODEL_MANIFEST}"
        record = RuntimeRecord("torch", str(torch.__version__))
        return Written((weights,) * len(segments), weights, (manifest,), record)


def exporter(network: ShallowDeepNetwork, precision: Precision) -> NetworkExporter:
    """What writes a network whose code a bundle may name."""
    f32_alone(precision, "torch")
    name = "" if network.architecture is None else network.architecture.name
    if not name or not is_trusted(name):
        raise ConfigurationError(
            f"Expected a network that a bundle can name, got {name or 'one built from an object'!r}, whose code no "
            "bundle runs; export it for onnxruntime"
        )
    return NetworkExporter(network)
