"""Segments of a network as OpenVINO files: exported with all exits, quantised whole, then cut at those in use.

So what a network computes at an exit does not depend on which others are in use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shallowdeep.artifacts import STATIC_GRAPH
from shallowdeep.inference.backends.backend import Written
from shallowdeep.inference.backends.openvino_models import options
from shallowdeep.inference.beside import masked, names_of, network_length
from shallowdeep.inference.onnx_export import (
    beside_name,
    export_module,
    inference_head,
    static_inputs,
)
from shallowdeep.inference.openvino_core import core, openvino
from shallowdeep.inference.openvino_graph import BF16, F32, INPUT, LOGITS, Border, border_of, cut
from shallowdeep.inference.precision import INT8, Precision
from shallowdeep.inference.quantisation import quantised
from shallowdeep.inference.runtime_record import BorderRecord, RuntimeRecord
from shallowdeep.inference.segments import Segment
from shallowdeep.progress import Bar
from shallowdeep.runtime import bf16_pays, evaluating
from shallowdeep.sdn.logits import LogitsModule
from shallowdeep.sdn.network import ShallowDeepNetwork

_BORDER = "border"
_MAP_AXES = 4


class ExitsModule(nn.Module):
    """A network with the outputs of all its exits and all its borders, as it is exported.

    Args:
        network: on the CPU.
    """

    def __init__(self, network: ShallowDeepNetwork) -> None:
        super().__init__()
        self.backbone, self.stages = network.backbone, network.stages
        self.cascaded = [exit_.cascaded for exit_ in network.exits]
        self.heads = nn.ModuleList([*map(inference_head, network.internal_classifiers), nn.Identity()])
        self.names, self.named = [spec.name for spec in network.inputs], bool(names_of(network))

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Logits (n, C) of each exit, then what passes each border (n, ...)."""
        inputs = dict(zip(self.names, (x, *others), strict=True))
        logits: list[Tensor] = []
        borders: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(self.backbone, x, inputs)
            borders.append(x)
            previous = [logits[-1]] if logits and self.cascaded[number] else []
            head = self.heads[number]
            mask = masked(head, inputs, named=self.named)
            logits.append(head(x, *previous) if mask is None else head(x, previous[0] if previous else None, mask))
        return (*logits, *borders[:-1])


class OpenVinoExporter:
    """Writes ``segment-NUMBER.xml`` and ``.bin`` for each segment, and the static backbone.

    The graph with all exits is made, and quantised, when it is first needed, and once.

    Args:
        network: on the CPU; not changed meanwhile.
        precision: to compute in.
        buckets: sizes of batch that segments will be compiled for, which bundles record.
    """

    def __init__(self, network: ShallowDeepNetwork, precision: Precision, buckets: Sequence[int] = ()) -> None:
        self._network, self._precision, self._buckets = network, precision, tuple(buckets)
        self.uncut: Callable[[Any], NDArray[np.float32]] | None = None if precision.name == F32 else self._all_exits

    def write(self, segments: Sequence[Segment], directory: Path, *, static: bool, bar: Bar) -> Written:
        """Write one bundle's files.

        Raises:
            ConversionError: the network cannot be exported or quantised.
        """
        used = [segment.exit for segment in segments]
        borders = self._borders(used[:-1])
        files: list[str] = []
        for number, model in enumerate(cut(self._exits.graph, borders, used[-1], self._beside)):
            files.append(f"segment-{number}.xml")
            openvino.save_model(model, directory / files[-1], compress_to_fp16=False)
            bar.advance(1, files[-1])
        if static:
            openvino.save_model(self._backbone, directory / STATIC_GRAPH, compress_to_fp16=False)
            bar.advance(1, STATIC_GRAPH)
        weights = tuple(Path(name).with_suffix(".bin").name for name in (*files, *([STATIC_GRAPH] if static else [])))
        return Written(tuple(files), STATIC_GRAPH if static else None, weights, self._record(borders))

    @property
    def _beside(self) -> tuple[str, ...]:
        """What later segments call the network's inputs; none where the features are all that passes."""
        read = any(stage.beside for stage in self._network.stages[1:]) or network_length(self._network) is not None
        return tuple(beside_name(spec.name) for spec in self._network.inputs) if read else ()

    def _record(self, borders: Sequence[Border]) -> RuntimeRecord:
        """What a bundle says of the runtime."""
        passed = tuple(BorderRecord(border.exit, border.element, border.layout) for border in borders)
        return RuntimeRecord("openvino", openvino.__version__.split("-")[0], passed, self._buckets)

    @cached_property
    def _uncut(self) -> Any:  # noqa: ANN401 - openvino has no types
        """The graph before it is cut, compiled."""
        return core().compile_model(self._exits.graph, "CPU", options(None, self._precision.name))

    def _all_exits(self, batch: Any) -> NDArray[np.float32]:  # noqa: ANN401 - an array, or several by name
        """Logits (E, N, C) of the graph before it is cut."""
        given = {INPUT: batch} if not isinstance(batch, Mapping) else dict(zip(
            (INPUT, *map(beside_name, list(batch)[1:])), batch.values(), strict=True,
        ))  # fmt: skip
        outputs = self._uncut({name: np.ascontiguousarray(values) for name, values in given.items()})
        return np.stack([np.asarray(outputs[f"{LOGITS}{k}"]) for k in range(len(self._network.exits))])

    @cached_property
    def _exits(self) -> _Exits:
        """The network with all exits, in its precision."""
        count = len(self._network.exits)
        borders = [f"{_BORDER}{number}" for number in range(count - 1)]
        whole = self._exported(ExitsModule(self._network).eval(), [*(f"{LOGITS}{k}" for k in range(count)), *borders])
        producers = tuple(_producer(whole, name) for name in borders)
        return _Exits(_in_precision(_without_borders(whole, count), self._precision), producers)

    @cached_property
    def _backbone(self) -> Any:  # noqa: ANN401 - openvino has no types
        """The unmodified backbone, in its precision."""
        module = LogitsModule(self._network.backbone, names_of(self._network))
        return _in_precision(self._exported(module, [LOGITS]), self._precision)

    def _exported(self, module: nn.Module, outputs: list[str]) -> Any:  # noqa: ANN401 - openvino has no types
        """A module as a graph."""
        with evaluating(self._network), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            export_module(module, static_inputs(self._network), path, outputs, network_length(self._network))
            return core().read_model(path)

    def _borders(self, exits: Sequence[int]) -> list[Border]:
        """How what lies behind each of some exits is passed."""
        graph, producers = self._exits
        lower = self._precision.name != F32 and bf16_pays(torch.device("cpu"))
        floating = BF16 if lower else F32
        return [
            border_of(
                graph, exit_, producers[exit_], floating,
                is_map=_is_map(self._network, exit_, graph, producers[exit_]),
            )
            for exit_ in exits
        ]  # fmt: skip


class _Exits(NamedTuple):
    """A network with all exits.

    Attributes:
        graph: in its precision.
        producers: (E-1,) names of the nodes whose output passes each border.
    """

    graph: Any
    producers: tuple[str, ...]


def _producer(graph: Any, name: str) -> str:  # noqa: ANN401 - openvino has no types
    """Return the name of the node whose output has a name."""
    port = next(output for output in graph.outputs if name in output.get_names())
    found: str = port.node.input_value(0).get_node().get_friendly_name()
    return found


def _without_borders(graph: Any, count: int) -> Any:  # noqa: ANN401 - openvino has no types
    """Return the graph with its logits as outputs alone: other ones would be quantised as such."""
    wanted = {f"{LOGITS}{number}" for number in range(count)}
    results = [output.node for output in graph.outputs if wanted & output.get_names()]
    return openvino.Model(results, graph.get_parameters(), "exits")


def _is_map(network: ShallowDeepNetwork, exit_: int, graph: Any, name: str) -> bool:  # noqa: ANN401 - no types
    """Return whether a border is a map (n, C, H, W); one of a network that has channels last is none."""
    node = next(node for node in graph.get_ops() if node.get_friendly_name() == name)
    reduction = getattr(network.internal_classifiers[exit_], "reduction", None)
    return len(node.get_output_partial_shape(0)) == _MAP_AXES and not getattr(reduction, "channels_last", False)


def _in_precision(graph: Any, precision: Precision) -> Any:  # noqa: ANN401 - openvino has no types
    """Return the graph, quantised after training where 8-bit integers are asked for."""
    if precision.name != INT8 or precision.images is None:
        return graph
    return quantised(graph, precision.images, precision.judged)
