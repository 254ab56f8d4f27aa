"""One graph that is right in eval and in train mode, from the two that tracing gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class TracedMode:
    """What tracing gives in one mode: a graph, and the tensors that ``forward`` creates, by name."""

    graph: fx.Graph
    constants: dict[str, Tensor]


def choose_by_mode(training: bool, in_training: Any, in_eval: Any) -> Any:  # noqa: ANN401 - any traced constant
    """``in_training`` or ``in_eval``; stands in graphs where a constant depended on ``self.training``."""
    return in_training if training else in_eval


def merge_modes(evaluation: TracedMode, training: TracedMode) -> str | None:
    """Make the graph of ``evaluation`` right for train mode too.

    Returns:
        None when that is done; else the path of the deepest module that holds the first difference, "" for the root.
    """
    nodes, others = list(evaluation.graph.nodes), list(training.graph.nodes)
    twin: dict[fx.Node, fx.Node] = {}
    for node, other in zip(nodes, others, strict=False):
        if not _same_operation(node, other, evaluation.constants, training.constants):
            return _common_path(node.meta.get("path", ""), other.meta.get("path", ""))
        twin[other] = node
    if len(nodes) != len(others):
        return ""
    for node, other in zip(nodes, others, strict=True):
        path = str(node.meta.get("path", ""))
        try:
            args, kwargs = _Merger(evaluation.graph, node, path, twin)(
                (node.args, node.kwargs), (other.args, other.kwargs)
            )
        except _DifferentStructureError:
            return path
        node.args, node.kwargs = args, kwargs
    return None


def _same_operation(node: fx.Node, other: fx.Node, constants: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    if node.op != other.op or node.target != other.target:
        return False
    name = str(node.target)
    if node.op == "get_attr" and name in constants:
        return name in others and torch.equal(constants[name], others[name])
    return True


def _common_path(first: str, second: str) -> str:
    """The deepest module that holds both paths."""
    common = []
    for a, b in zip(first.split("."), second.split("."), strict=False):
        if a != b:
            break
        common.append(a)
    return ".".join(common)


class _DifferentStructureError(Exception):
    """Two traced argument lists do not have the same shape."""


class _Merger:
    """Joins the arguments of one node as traced in the two modes."""

    def __init__(self, graph: fx.Graph, node: fx.Node, path: str, twin: dict[fx.Node, fx.Node]) -> None:
        self.graph, self.node, self.path, self.twin = graph, node, path, twin

    def __call__(self, in_eval: Any, in_training: Any) -> Any:  # noqa: ANN401 - any nested arguments
        if isinstance(in_eval, fx.Node) or isinstance(in_training, fx.Node):
            if self.twin.get(in_training) is not in_eval:
                raise _DifferentStructureError
            return in_eval
        if isinstance(in_eval, (tuple, list)) and isinstance(in_training, (tuple, list)):
            if len(in_eval) != len(in_training):
                raise _DifferentStructureError
            return type(in_eval)([self(a, b) for a, b in zip(in_eval, in_training, strict=True)])
        if isinstance(in_eval, dict) and isinstance(in_training, dict):
            if in_eval.keys() != in_training.keys():
                raise _DifferentStructureError
            return {key: self(in_eval[key], in_training[key]) for key in in_eval}
        if isinstance(in_eval, slice) and isinstance(in_training, slice):
            parts = [self(getattr(in_eval, a), getattr(in_training, a)) for a in ("start", "stop", "step")]
            return slice(*parts)
        return in_eval if in_eval == in_training else self._by_mode(in_eval, in_training)

    def _by_mode(self, in_eval: Any, in_training: Any) -> fx.Node:  # noqa: ANN401 - any traced constant
        with self.graph.inserting_before(self.node):
            flag = self.graph.create_node("get_attr", f"{self.path}.training".lstrip("."))
            flag.meta["path"] = self.path
            if in_eval is False and in_training is True:
                return flag
            chosen = self.graph.call_function(choose_by_mode, (flag, in_training, in_eval))
            chosen.meta["path"] = self.path
            return chosen
