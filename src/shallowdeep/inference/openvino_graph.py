"""OpenVINO graphs: a network with several exits, cut at its borders into one model a segment (no torch).

What passes a border keeps the runtime's own type: 8-bit integers where the whole network was quantised before it was
cut, so that both sides share one scale; bfloat16 where the runtime computes in it. Maps pass as (n, H, W, C), which the
runtime does not rearrange; 8-bit ones as (n, C, H, W), since it transposes those slowly (results/speed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shallowdeep.inference.openvino_core import openvino

ops, PrePostProcessor = openvino.opset13, openvino.preprocess.PrePostProcessor
INPUT, FEATURES, PREVIOUS, LOGITS = "x", "features", "previous", "logits"
U8, BF16, F32 = "u8", "bf16", "f32"
_LEVELS = 256
_RANGE = (1, 2, 3, 4)  # inputs of a fake quantisation: its range before and after
_POOL = "MaxPool"
CHANNELS_LAST, CHANNELS_FIRST, AS_COMPUTED = "NHWC", "NCHW", "as computed"

Graph = Any  # openvino.Model, which has no types
Node = Any


@dataclass(frozen=True)
class Border:
    """What passes between two segments.

    Attributes:
        exit: that the segment before it ends at.
        name: of the node in the whole graph whose output passes.
        element: ``u8``, ``bf16`` or ``f32``.
        layout: ``NHWC`` or ``NCHW`` of maps, ``as computed`` of others.
    """

    exit: int
    name: str
    element: str
    layout: str


def border_of(graph: Graph, exit_: int, name: str, floating: str, *, is_map: bool) -> Border:
    """Return how a border is to be passed.

    Args:
        graph: the whole network; where it was quantised, with fake quantisation.
        exit_: that it lies behind.
        name: of the node whose output passes.
        floating: element type of a border that is not quantised.
        is_map: whether it is a map (n, C, H, W).
    """
    element = U8 if _quantisers(_by_name(graph)[name]) else floating
    layout = CHANNELS_FIRST if element == U8 else CHANNELS_LAST
    return Border(exit_, name, element, layout if is_map else AS_COMPUTED)


def cut(graph: Graph, borders: Sequence[Border], last: int, beside: Sequence[str] = ()) -> list[Graph]:
    """Return one model for each segment of a network with several exits.

    Args:
        graph: input ``x``; outputs ``logits0`` … ``logits{E-1}``, one an exit. It is not changed; what no segment
            needs is left out.
        borders: K of them, in turn.
        last: the exit that the last segment ends at.
        beside: what later segments call the graph's inputs where they read them too, in the order of its inputs; none
            where they must not.

    Returns:
        K + 1 models. The first reads ``x``, the others ``features`` and, where its head is cascaded, ``previous``; each
        returns ``logits`` and, but for the last, ``features``.
    """
    return [_segment(graph.clone(), borders, last, number, beside) for number in range(len(borders) + 1)]


def _segment(graph: Graph, borders: Sequence[Border], last: int, number: int, beside: Sequence[str]) -> Graph:
    """Return segment ``number``; the graph is used up."""
    found, exits = _by_name(graph), [*(border.exit for border in borders), last]
    results = [_named_result(_output(graph, f"{LOGITS}{exits[number]}").node.input_value(0), LOGITS)]
    if number < len(borders):
        results.append(_named_result(_leaving(found[borders[number].name], borders[number]), FEATURES))
    inputs = list(graph.get_parameters())
    parameters, others = [inputs[0]], inputs[1:]
    if number:
        parameters = [_entering(found[borders[number - 1].name], borders[number - 1])]
        logits = _output(graph, f"{LOGITS}{exits[number - 1]}").node.input_value(0)
        parameters += _replaced(logits, PREVIOUS)
        others = inputs
    read = _read_by(results)
    for node, name in zip(inputs, beside, strict=False):
        if node in others and node.get_friendly_name() in read:
            node.output(0).get_tensor().set_names({name})
            parameters.append(node)
    cut_out = openvino.Model(results, [node for node in parameters if node is not None], f"segment-{number}")
    steps = PrePostProcessor(cut_out)
    if number:
        _passed(steps.input(FEATURES), borders[number - 1])
    if number < len(borders):
        _passed(steps.output(FEATURES), borders[number])
    return steps.build()


def _read_by(results: Sequence[Node]) -> set[str]:
    """Return the names of all nodes that results follow from."""
    found: set[str] = set()
    waiting = list(results)
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            waiting += [port.get_node() for port in node.input_values()]
    return found


def _passed(port: Any, border: Border) -> None:  # noqa: ANN401 - openvino has no types
    """Let a border's tensor have its type and layout."""
    if border.element == BF16:
        port.tensor().set_element_type(openvino.Type.bf16)
    if border.layout == CHANNELS_LAST:
        port.model().set_layout(openvino.Layout("NCHW"))
        port.tensor().set_layout(openvino.Layout("NHWC"))


def _leaving(node: Node, border: Border) -> Any:  # noqa: ANN401 - an output
    """Return the output that leaves at a border: 8-bit integers where it is quantised, which its head reads too."""
    if border.element != U8:
        return node.output(0)
    quantisers = _quantisers(node)
    first, source, pool = quantisers[0], quantisers[0].input_value(0), None
    if source.get_node().get_type_name() == _POOL:  # the largest of quantised values is the quantised largest
        pool = source.get_node()
        source = pool.input_value(0)
    low = np.zeros_like(_constant(first, 3))
    levels = ops.fake_quantize(
        source, first.input_value(1), first.input_value(2), low, low + (_LEVELS - 1), _LEVELS
    ).output(0)
    if pool is not None:
        pool.input(0).replace_source_output(levels)
        levels = pool.output(0)
    whole = ops.convert(levels, U8)
    value = _scaled(whole.output(0), first)
    _read_instead(quantisers, value)
    return whole.output(0)


def _entering(node: Node, border: Border) -> Node:
    """Return the parameter that stands for a border's output, once everything behind it reads that."""
    if border.element != U8:
        (parameter,) = _replaced(node.output(0), FEATURES)
        return parameter
    quantisers = _quantisers(node)
    parameter = _parameter(quantisers[0].get_output_partial_shape(0), openvino.Type.u8, FEATURES)
    _read_instead(quantisers, _scaled(parameter.output(0), quantisers[0]))
    return parameter


def _scaled(whole: Any, quantiser: Node) -> Any:  # noqa: ANN401 - outputs
    """Return the values that 8-bit integers stand for."""
    low, high = _constant(quantiser, 3), _constant(quantiser, 4)
    scale = (high - low) / (_LEVELS - 1)
    value = ops.convert(whole, F32)
    if np.any(low):
        value = ops.subtract(value, (-low / scale).astype(np.float32).reshape(()))
    return ops.multiply(value, scale.astype(np.float32).reshape(())).output(0)


def _read_instead(quantisers: Sequence[Node], value: Any) -> None:  # noqa: ANN401 - an output
    """Let what reads these quantisations read a value."""
    for quantiser in quantisers:
        for reader in list(quantiser.output(0).get_target_inputs()):
            reader.replace_source_output(value)


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
