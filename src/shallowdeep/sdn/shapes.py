"""Numbers that a forward reads from the shapes of tensors, while it is traced and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import by_name, repeated, sequence_length

_METADATA = frozenset(
    {
        *("shape", "device", "dtype", "ndim", "size", "dim", "numel", "nelement", "ndimension", "stride"),
        *("is_cuda", "is_contiguous", "is_floating_point", "get_device", "layout", "len"),
        *("is_nested", "is_sparse", "is_quantized", "is_cpu", "is_complex"),
    }
)


def reads_metadata(node: fx.Node) -> bool:
    """Whether the node reads the shape or kind of a value, not its contents."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _METADATA
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in {"call_method", "call_function"} and name in _METADATA


class ShapeReader:
    """Answers to the questions about shapes on which a forward branches, from the size of an example.

    Args:
        root: the module that is traced.
        inputs: by the names of the graph's placeholders, each (N, ...); only the first sample is used, once alone and
            once doubled.
    """

    def __init__(self, root: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        self.root = root
        self.inputs = tuple(repeated(inputs, times) for times in (1, 2))
        self.values: tuple[dict[fx.Node, Any], dict[fx.Node, Any]] = ({}, {})
        self.running = False
        self.fixed = False  # whether a number was told, which graphs hold as it is
        self.varying = sequence_length(inputs) is not None

    def truth(self, node: fx.Node) -> bool | None:
        """The truth of ``node``'s value; None where it depends on more than shapes, or on the size of the batch."""
        answer = self._answer(node)
        return None if answer is None else bool(answer[0])

    def number(self, node: fx.Node) -> int | None:
        """The number that ``node`` is; None where it depends on more than shapes, the batch, or a text's length."""
        answer = None if self.varying else self._answer(node)
        if answer is None or not isinstance(answer[0], (int, float)):
            return None
        self.fixed = True
        return int(answer[0])

    def length(self, node: fx.Node) -> int | None:
        """The number of dimensions where ``node`` is a shape; None where it is anything else."""
        answer = self._answer(node)
        return len(answer[0]) if answer is not None and isinstance(answer[0], torch.Size) else None

    def _answer(self, node: fx.Node) -> tuple[Any] | None:
        questions = _questions(node)
        if questions is None:
            return None
        self.running = True
        try:
            with torch.no_grad(), evaluating(self.root):
                for inputs, values in zip(self.inputs, self.values, strict=True):
                    self._run(node, by_name(inputs), values)
        finally:
            self.running = False
        first, second = self.values
        asked = [(first[n], second[n]) for n in questions if not isinstance(first[n], torch.Size)]
        if any(isinstance(a, Tensor) or a != b for a, b in asked):
            return None
        return (first[node],)

    def _run(self, last: fx.Node, inputs: Mapping[str, Tensor], values: dict[fx.Node, Any]) -> None:
        interpreter = fx.Interpreter(self.root, graph=last.graph)
        interpreter.env = values
        for node in last.graph.nodes:
            if node not in values:
                values[node] = inputs[str(node.target)] if node.op == "placeholder" else interpreter.run_node(node)
            if node is last:
                return


def _questions(node: fx.Node) -> set[fx.Node] | None:
    """``node`` and what it follows from, down to reads of shapes; None where it follows from anything else."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        found.add(current)
        if reads_metadata(current):
            continue
        if current.op not in {"call_function", "call_method"} or not current.all_input_nodes:
            return None
        waiting += current.all_input_nodes
    return found
