"""OpenVINO graphs: a network with several exits, cut at its borders into one model a segment (no torch).

What passes a border keeps the runtime's own layout and type, so that nothing is rearranged there: maps as (n, H, W, C);
8-bit integers where the whole network was quantised before it was cut, so that both sides share one scale; bfloat16
where the runtime computes in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.preprocess import PrePostProcessor

INPUT, FEATURES, PREVIOUS, LOGITS = "x", "features", "previous", "logits"
U8, BF16, F32 = "u8", "bf16", "f32"
_LEVELS = 256
_RANGE = (1, 2, 3, 4)  # inputs of a fake quantisation: its range before and after

Graph = Any  # openvino.Model, which has no types
Node = Any


@dataclass(frozen=True)
class Border:
    """What passes between two segments.

    Attributes:
        name: of the output in the whole graph.
        element: ``u8``, ``bf16`` or ``f32``.
        blocked: whether maps pass as (n, H, W, C).
    """

    name: str
    element: str
    blocked: bool


def borders_of(graph: Graph, names: Sequence[str], floating: str, *, maps: Sequence[bool]) -> list[Border]:
    """Return how each border is to be passed.

    Args:
        graph: the whole network; where it was quantised, with fake quantisation.
        names: of the nodes whose outputs the borders are.
        floating: element type of borders that are not quantised.
        maps: whether each is a map (n, C, H, W).
    """
    found = _by_name(graph)
    return [
        Border(name, U8 if _quantisers(found[name]) else floating, is_map)
        for name, is_map in zip(names, maps, strict=True)
    ]


def cut(graph: Graph, borders: Sequence[Border]) -> list[Graph]:
    """Return one model for each segment of a network with several exits.

    Args:
        graph: inputs ``x``; outputs ``logits0`` … ``logitsK``, one a segment. It is not changed.
        borders: K of them, in turn.

    Returns:
        K + 1 models. The first reads ``x``, the others ``features`` and, where its head is cascaded, ``previous``; each
        returns ``logits`` and, but for the last, ``features``.
    """
    return [_segment(graph.clone(), borders, number) for number in range(len(borders) + 1)]


def _segment(graph: Graph, borders: Sequence[Border], number: int) -> Graph:
    """Return segment ``number``; the graph is used up."""
    found = _by_name(graph)
    results = [_named_result(_output(graph, f"{LOGITS}{number}").node.input_value(0), LOGITS)]
    if number < len(borders):
        results.append(_named_result(_leaving(found[borders[number].name], borders[number]), FEATURES))
    parameters = [graph.input(0).node]
    if number:
        parameters = [_entering(found[borders[number - 1].name], borders[number - 1])]
        logits = _output(graph, f"{LOGITS}{number - 1}").node.input_value(0)
        parameters += _replaced(logits, PREVIOUS)
    cut_out = openvino.Model(results, [node for node in parameters if node is not None], f"segment-{number}")
    steps = PrePostProcessor(cut_out)
    if number:
        _passed(steps.input(FEATURES), borders[number - 1])
    if number < len(borders):
        _passed(steps.output(FEATURES), borders[number])
    return steps.build()


def _passed(port: Any, border: Border) -> None:  # noqa: ANN401 - openvino has no types
    """Let a border's tensor have its type and layout."""
    if border.element == BF16:
        port.tensor().set_element_type(openvino.Type.bf16)
    if border.blocked:
        port.model().set_layout(openvino.Layout("NCHW"))
        port.tensor().set_layout(openvino.Layout("NHWC"))


def _leaving(node: Node, border: Border) -> Any:  # noqa: ANN401 - an output
    """Return the output that leaves at a border: 8-bit integers where it is quantised."""
    if border.element != U8:
        return node.output(0)
    quantiser = _quantisers(node)[0]
    low = np.zeros_like(_constant(quantiser, 3))
    levels = ops.fake_quantize(
        quantiser.input_value(0), quantiser.input_value(1), quantiser.input_value(2), low, low + (_LEVELS - 1), _LEVELS
    )
    return ops.convert(levels, U8).output(0)


def _entering(node: Node, border: Border) -> Node:
    """Return the parameter that stands for a border's output, once everything behind it reads that."""
    if border.element != U8:
        (parameter,) = _replaced(node.output(0), FEATURES)
        return parameter
    quantisers = _quantisers(node)
    low, high = _constant(quantisers[0], 3), _constant(quantisers[0], 4)
    scale = (high - low) / (_LEVELS - 1)
    parameter = _parameter(quantisers[0].get_output_partial_shape(0), openvino.Type.u8, FEATURES)
    value = ops.convert(parameter, F32)
    if np.any(low):
        value = ops.subtract(value, (-low / scale).astype(np.float32))
    value = ops.multiply(value, scale.astype(np.float32))
    for quantiser in quantisers:
        for reader in list(quantiser.output(0).get_target_inputs()):
            reader.replace_source_output(value.output(0))
    return parameter


def _replaced(source: Any, name: str) -> list[Node]:  # noqa: ANN401 - an output
    """Return a parameter that stands for an output, once its readers but results read that; none without readers."""
    readers = [reader for reader in source.get_target_inputs() if reader.get_node().get_type_name() != "Result"]
    if not readers:
        return []
    parameter = _parameter(source.get_partial_shape(), source.get_element_type(), name)
    for reader in readers:
        reader.replace_source_output(parameter.output(0))
    return [parameter]


def _parameter(shape: Any, element: Any, name: str) -> Node:  # noqa: ANN401 - openvino has no types
    parameter = ops.parameter(shape, element, name=name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _named_result(source: Any, name: str) -> Node:  # noqa: ANN401 - an output
    result = ops.result(source)
    result.output(0).get_tensor().set_names({name})
    return result


def _quantisers(node: Node) -> list[Node]:
    """Return the fake quantisations that alone read a node's output, all in the same 256 steps; none if they differ."""
    readers = [
        reader.get_node()
        for reader in node.output(0).get_target_inputs()
        if reader.get_node().get_type_name() != "Result"
    ]
    if any(reader.get_type_name() != "FakeQuantize" for reader in readers):
        return []
    ranges = {tuple(float(_constant(reader, place).reshape(-1)[0]) for place in _RANGE) for reader in readers}
    one_scale = all(_constant(reader, place).size == 1 for reader in readers for place in _RANGE)
    levels = {reader.get_attributes()["levels"] for reader in readers}
    return readers if one_scale and len(ranges) == 1 and levels == {_LEVELS} else []


def _constant(node: Node, place: int) -> Any:  # noqa: ANN401 - an array
    return node.input_value(place).get_node().get_data()


def _output(graph: Graph, name: str) -> Any:  # noqa: ANN401 - an output
    return next(output for output in graph.outputs if name in output.get_names())


def _by_name(graph: Graph) -> dict[str, Node]:
    return {node.get_friendly_name(): node for node in graph.get_ops()}
