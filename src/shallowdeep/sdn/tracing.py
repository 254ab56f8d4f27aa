"""From a module to a graph whose execution equals the module's, in eval and in train mode."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shallowdeep.errors import ConversionError
from shallowdeep.runtime import evaluating

MAX_ATTEMPTS = 200  # each failed attempt turns one more module into a leaf


@dataclass(frozen=True)
class TracedBackbone:
    """A backbone and its graph. Nodes carry ``meta["path"]``: the module that made them, "" for the root."""

    backbone: nn.Module
    graph: fx.Graph
    opaque: tuple[str, ...]  # modules that could not be traced and are run whole


class _ModuleTracer(fx.Tracer):
    """Traces down to childless modules, and remembers which module an error came from.

    Childless modules and every BatchNorm are leaves, so that they read their own mode when they run: a
    traced ``if self.training`` is frozen for ever.
    """

    def __init__(self, opaque: frozenset[str]) -> None:
        super().__init__(param_shapes_constant=True)
        self.opaque = opaque
        self.paths: list[str] = [""]
        self.failed_at: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, (_BatchNorm, nn.MultiheadAttention)) or module_qualified_name in self.opaque:
            return True
        return next(m.children(), None) is None

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:  # noqa: ANN401, ARG002 - the base class's signature
        # One input; whatever else forward takes keeps its Python default.
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:  # noqa: ANN401 - the base class's signature
        node = super().create_node(*args, **kwargs)
        node.meta["path"] = node.target if node.op == "call_module" else self.paths[-1]
        return node

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401 - the base class's signature
        path = self.path_of_module(m)
        self.paths.append(path)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed_at is None:
                self.failed_at = path
            raise
        finally:
            self.paths.pop()


def trace(backbone: nn.Module) -> TracedBackbone:
    """A graph that computes what ``backbone`` computes, in either mode.

    The backbone is traced twice, in eval and in train mode. Arguments that differ (``training=self.training``,
    ``dropout_p = p if self.training else 0``) are read again from their module at run time. A module that cannot
    be traced, or that takes another way in train mode, becomes a leaf and is run whole.

    Raises:
        ConversionError: ``backbone.forward`` itself cannot be traced, or takes another way in train mode.
    """
    opaque: frozenset[str] = frozenset()
    for _ in range(MAX_ATTEMPTS):
        culprit, graph = _attempt(backbone, opaque)
        if graph is not None:
            return TracedBackbone(backbone, graph, tuple(sorted(opaque)))
        opaque |= {culprit}
    raise ConversionError(f"Expected at most {MAX_ATTEMPTS} modules that cannot be traced in {type(backbone).__name__}")


def _attempt(backbone: nn.Module, opaque: frozenset[str]) -> tuple[str, fx.Graph | None]:
    """The merged graph, or the path of the next module to run whole."""
    graphs = []
    for training in (False, True):
        tracer = _ModuleTracer(opaque)
        with evaluating(backbone):
            backbone.train(training)
            try:
                graphs.append(tracer.trace(backbone))
            except Exception as error:  # noqa: BLE001 - a user's forward may raise anything under tracing
                if not tracer.failed_at:
                    raise ConversionError(_explain(backbone, error)) from error
                return tracer.failed_at, None
    culprit = _merge_modes(backbone, *graphs)
    if culprit is None:
        _keep_constants(backbone, graphs[0])
        return "", graphs[0]
    if not culprit:
        raise ConversionError(
            f"{type(backbone).__name__}.forward takes another way in train mode than in eval mode, so no single graph "
            "stands for it; switch that off (auxiliary heads, for one), or move the part into a submodule of its own"
        )
    return culprit, None


def _explain(backbone: nn.Module, error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/torch/fx/" not in frame.filename]
    place = f"{frames[-1].filename}:{frames[-1].lineno} ({frames[-1].line})" if frames else "an unknown line"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{type(backbone).__name__}.forward cannot be traced at {place}: {reason}; move this step into a submodule "
        "of its own, which is then run whole, or mark the function with torch.fx.wrap"
    )


def choose_by_mode(training: bool, in_training: Any, in_eval: Any) -> Any:  # noqa: ANN401, FBT001 - any traced constant
    """``in_training`` or ``in_eval``; stands in graphs where a constant depended on ``self.training``."""
    return in_training if training else in_eval


def _merge_modes(backbone: nn.Module, graph: fx.Graph, training_graph: fx.Graph) -> str | None:
    """Make ``graph`` right for train mode too; else the path of the first module whose graphs differ."""
    nodes, others = list(graph.nodes), list(training_graph.nodes)
    for node, other in zip(nodes, others, strict=False):
        if not _same_operation(backbone, node, other):
            return _common_path(node.meta.get("path", ""), other.meta.get("path", ""))
    if len(nodes) != len(others):
        return ""
    twin = dict(zip(others, nodes, strict=True))
    for node, other in zip(nodes, others, strict=True):
        path = node.meta.get("path", "")
        merged = _Merger(graph, node, path, twin)
        try:
            args, kwargs = merged((node.args, node.kwargs), (other.args, other.kwargs))
        except _DifferentStructureError:
            return str(path)
        node.args, node.kwargs = args, kwargs
    return None


def _same_operation(backbone: nn.Module, node: fx.Node, other: fx.Node) -> bool:
    if node.op != other.op:
        return False
    if node.op == "get_attr" and node.target != other.target and "_tensor_constant" in str(node.target):
        first, second = (getattr(backbone, str(n.target)) for n in (node, other))
        if torch.equal(first, second):
            delattr(backbone, str(other.target))  # the second trace's copy of the same constant
            return True
        return False
    return node.target == other.target


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
        if isinstance(in_eval, fx.Node) and isinstance(in_training, fx.Node):
            if self.twin[in_training] is not in_eval:
                raise _DifferentStructureError
            return in_eval
        if isinstance(in_eval, (tuple, list)) and type(in_eval) is type(in_training):
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
        if isinstance(in_eval, fx.Node) or isinstance(in_training, fx.Node):
            raise _DifferentStructureError
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


def _keep_constants(backbone: nn.Module, graph: fx.Graph) -> None:
    """Register tensors that forward creates as buffers, so that they move with the network; they are not saved."""
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "get_attr" and name in backbone.__dict__ and isinstance(backbone.__dict__[name], Tensor):
            value = backbone.__dict__.pop(name)
            backbone.register_buffer(name, value, persistent=False)
