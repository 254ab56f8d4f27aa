"""What cut points and candidate heads of a backbone take of its time, in the runtime to be deployed.

Times do not depend on weights, so that a network is measured before it is trained, once it stands.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shallowdeep.bench.operation_times import Operation, operation_times, seconds_for, seconds_until
from shallowdeep.inference.onnx_export import export_module, inference_head
from shallowdeep.inference.openvino_core import core, openvino
from shallowdeep.inference.precision import INT8
from shallowdeep.inference.quantisation import quantised
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.internal_classifier import attach
from shallowdeep.sdn.network import ShallowDeepNetwork

SCALING_IMAGES = 8  # random ones: scales change no times
_LOGITS, _CUT = "logits", "cut"

Graph = Any  # openvino.Model, which has no types


@dataclass(frozen=True)
class CutTimes:
    """How long a backbone takes up to its cut points.

    Attributes:
        seconds: (P,) up to and including each, for a batch.
        whole: seconds of the backbone.
    """

    seconds: tuple[float, ...]
    whole: float


@dataclass(frozen=True)
class HeadTimes:
    """How long candidate heads take where they are attached.

    Attributes:
        seconds: for each of P cut points, those of each of its candidates, for a batch.
        whole: seconds of the backbone, measured beside them.
    """

    seconds: tuple[tuple[float, ...], ...]
    whole: float


class _WithHeads(nn.Module):
    """A backbone that returns its logits (n, C), what passes each cut point (n, ...), and each head's logits."""

    def __init__(self, network: ShallowDeepNetwork, heads: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.backbone, self.stages = network.backbone, network.stages
        self.heads = nn.ModuleList(inference_head(head) for beside in heads for head in beside)
        ends = list(accumulate(map(len, heads), initial=0))
        self.places = [range(first, last) for first, last in pairwise(ends)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the stages, and all heads of each cut point."""
        cuts: list[Tensor] = []
        logits: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(self.backbone, x)
            if number < len(self.stages) - 1:
                cuts.append(x)
                logits += [self.heads[index](x) for index in self.places[number]]
        return (x, *cuts, *logits)


def cut_times(
    backbone: nn.Module, example_input: Tensor, cuts: Sequence[CutPoint], *, precision: str, batch_size: int
) -> CutTimes:
    """Return how long a backbone takes up to each of some cut points.

    Args:
        backbone: left as it is.
        example_input: (1, C, H, W) float.
        cuts: P of them, by depth.
        precision: ``f32``, ``bf16`` or ``int8``.
        batch_size: images at a time.

    Raises:
        ConversionError: the backbone cannot be exported or quantised.
    """
    graph, _, before = _graph(backbone, example_input, cuts, [() for _ in cuts], precision)
    operations = operation_times(graph, precision, batch_size)
    return CutTimes(tuple(seconds_until(operations, nodes) for nodes in before), _whole(operations))


def head_times(
    backbone: nn.Module,
    example_input: Tensor,
    cuts: Sequence[CutPoint],
    kinds: Sequence[Sequence[str]],
    *,
    precision: str,
    batch_size: int,
) -> HeadTimes:
    """Return how long candidate heads take at some cut points, attached to the backbone all at once.

    Args:
        backbone: left as it is.
        example_input: (1, C, H, W) float.
        cuts: P of them, by depth.
        kinds: of the candidates at each, see `shallowdeep.sdn.internal_classifier.attach`.
        precision: ``f32``, ``bf16`` or ``int8``.
        batch_size: images at a time.

    Raises:
        ConversionError: the backbone cannot be exported or quantised.
    """
    graph, names, _ = _graph(backbone, example_input, cuts, kinds, precision)
    operations = operation_times(graph, precision, batch_size)
    seconds = tuple(tuple(seconds_for(operations, name, _LOGITS) for name in beside) for beside in names)
    return HeadTimes(seconds, _whole(operations))


def _whole(operations: Sequence[Operation]) -> float:
    return seconds_for(operations, _LOGITS)


def _graph(
    backbone: nn.Module,
    example_input: Tensor,
    cuts: Sequence[CutPoint],
    kinds: Sequence[Sequence[str]],
    precision: str,
) -> tuple[Graph, list[list[str]], list[set[str]]]:
    """Return the graph with all heads, the names of their outputs, and of all nodes up to each cut point."""
    with torch.random.fork_rng(devices=[]):  # so that what is trained later begins with the same weights
        copied = copy.deepcopy(backbone)
        network = convert(copied, example_input, at=[cut.name for cut in cuts], minimum_gap=0.0)
        parameters, macs = sum(p.numel() for p in copied.parameters()), network.backbone_macs
        classes = network.num_classes
        heads = [
            [attach(cut, classes, parameters, kind, backbone_macs=macs) for kind in beside]
            for cut, beside in zip(cuts, kinds, strict=True)
        ]
        module = _WithHeads(network, heads)
    names = [[f"head{place}x{number}" for number in range(len(beside))] for place, beside in enumerate(kinds)]
    borders = [f"{_CUT}{place}" for place in range(len(cuts))]
    outputs = [_LOGITS, *borders, *(name for beside in names for name in beside)]
    with evaluating(module), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        export_module(module, {"x": example_input[:1].repeat(2, 1, 1, 1)}, path, outputs)
        whole = core().read_model(path)
    ports = {name: port for port in whole.outputs for name in port.get_names() & set(outputs)}
    producers = [ports[name].node.input_value(0).get_node().get_friendly_name() for name in borders]
    kept = [ports[name].node for name in outputs if name not in borders]
    graph = _in_precision(openvino.Model(kept, whole.get_parameters(), "exits"), example_input, precision)
    nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
    return graph, names, [_up_to(nodes[name]) for name in producers]


def _up_to(node: Any) -> set[str]:  # noqa: ANN401 - openvino has no types
    """Return the names of a node and of all that it depends on."""
    found, left = set[str](), [node]
    while left:
        one = left.pop()
        if one.get_friendly_name() not in found:
            found.add(one.get_friendly_name())
            left += [port.get_source_output().get_node() for port in one.inputs()]
    return found


def _in_precision(graph: Graph, example_input: Tensor, precision: str) -> Graph:
    """Return the graph as ``int8`` runs it, with scales from random images; others as it is."""
    if precision != INT8:
        return graph
    shape = (SCALING_IMAGES, *example_input.shape[1:])
    return quantised(graph, np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
