"""A stage: the part of a backbone between two cut points, as a function of the backbone and one tensor."""

from __future__ import annotations

import importlib
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.profile import NodeProfile
from shallowdeep.sdn.tracing import TracedBackbone


@dataclass(frozen=True)
class Stage:
    """Generated code that runs one part of a backbone, on the backbone's own modules and parameters.

    A stage owns no parameters: it looks them up in the backbone it is given, so that state dicts keep the
    backbone's names and copying, pickling and averaging see one module tree.

    Attributes:
        name: shown in tracebacks.
        source: Python source of ``forward(self, x)``, ``self`` being the backbone.
        names: what the source refers to besides builtins.
        targets: paths of the backbone's modules, parameters and buffers that the source reads.
    """

    name: str
    source: str
    names: dict[str, Any]
    targets: tuple[str, ...]

    @cached_property
    def function(self) -> Callable[[nn.Module, Tensor], Tensor]:
        """The compiled ``forward``."""
        filename = f"<shallowdeep stage {self.name}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(keepends=True), filename)
        scope = dict(self.names)
        exec(compile(self.source, filename, "exec"), scope)  # noqa: S102 - source made by torch.fx from the user's own module
        function: Callable[[nn.Module, Tensor], Tensor] = scope["forward"]
        return function

    def __call__(self, backbone: nn.Module, x: Tensor) -> Tensor:
        """Output of this part of ``backbone`` for the previous stage's output ``x``."""
        return self.function(backbone, x)

    def __getstate__(self) -> dict[str, Any]:
        names = {k: _ModuleName(v.__name__) if isinstance(v, ModuleType) else v for k, v in self.names.items()}
        return {"name": self.name, "source": self.source, "names": names, "targets": self.targets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        names = {
            k: importlib.import_module(v.name) if isinstance(v, _ModuleName) else v for k, v in state["names"].items()
        }
        self.__dict__.update(state | {"names": names})


class _Constant:
    """A tensor that the backbone's forward creates, on the device of the input; stands in generated code."""

    def __init__(self, name: str, value: Tensor) -> None:
        self.__name__ = name
        self.value = value

    def __call__(self, x: Tensor) -> Tensor:
        return self.value.to(x.device)


@dataclass(frozen=True)
class _ModuleName:
    """Stands for an imported module in pickles and copies."""

    name: str


class WholeStage:
    """The one stage of a network without internal classifiers: the backbone as it is, untraced."""

    name = "whole"

    def __call__(self, backbone: nn.Module, x: Tensor) -> Tensor:
        """Logits of ``backbone``."""
        output: Tensor = logits_of(backbone(x))
        return output


def split(traced: TracedBackbone, profiles: dict[fx.Node, NodeProfile], cuts: Sequence[CutPoint]) -> tuple[Stage, ...]:
    """One stage up to each cut point and one for the rest; run in turn they are the backbone.

    Args:
        traced: the graph and its backbone.
        profiles: of every node, from `profile`.
        cuts: in execution order.

    Raises:
        ConversionError: a stage needs a value of an earlier one that cannot be recomputed from its input.
    """
    nodes = list(traced.graph.nodes)
    ends = [nodes.index(cut.node) for cut in cuts] + [len(nodes) - 1]
    stages = []
    entry = nodes[0]
    first = 1
    for number, end in enumerate(ends):
        builder = _StageBuilder(traced, profiles, entry)
        for node in nodes[first : end + 1]:
            builder.add(node)
        stages.append(builder.finish(str(number), nodes[end]))
        entry, first = nodes[end], end + 1
    return tuple(stages)


class _StageBuilder:
    """Copies nodes into a graph of their own; values of earlier stages are recomputed from its input."""

    def __init__(self, traced: TracedBackbone, profiles: dict[fx.Node, NodeProfile], entry: fx.Node) -> None:
        self.constants = {name: _Constant(name, value) for name, value in traced.constants.items()}
        self.profiles, self.entry = profiles, entry
        self.graph = fx.Graph()
        self.copies: dict[fx.Node, fx.Node] = {entry: self.graph.placeholder("x")}
        self.batch: fx.Node | None = None

    def add(self, node: fx.Node) -> None:
        """Copy ``node``, whose inputs are in this stage or can be recomputed.

        Shape integers of earlier stages' tensors are left out, to be recomputed where they are used.
        """
        if node.op == "output":
            self.graph.output(fx.map_arg(node.args[0], self._value))
            return
        profile = self.profiles[node]
        here = all(source in self.copies for source in node.all_input_nodes)
        if here or profile.activation or not profile.tensorless:
            self._copy(node)

    def _copy(self, node: fx.Node) -> fx.Node:
        if node.op == "get_attr" and str(node.target) in self.constants:
            constant = self.constants[str(node.target)]
            self.copies[node] = self.graph.call_function(constant, (self.copies[self.entry],))
        else:
            self.copies[node] = self.graph.node_copy(node, self._value)
        return self.copies[node]

    def _value(self, node: fx.Node) -> Any:  # noqa: ANN401 - a node or a constant structure of nodes
        if node in self.copies:
            return self.copies[node]
        profile = self.profiles[node]
        if profile.activation:
            raise ConversionError(f"Expected one live tensor after {self.entry.name}, but {node.name} is read later")
        if any(self.profiles[source].activation for source in node.all_input_nodes):  # the shape of an activation
            return self._recomputed(node, *profile.values)
        return self._copy(node)  # made of such shapes, of parameters, or of flags read from their modules

    def _recomputed(self, node: fx.Node, one: Any, two: Any) -> Any:  # noqa: ANN401 - any traced constant
        """What was read from an activation's shape, as constants and multiples of this stage's batch size."""
        if isinstance(one, (tuple, list)):
            items = tuple(self._recomputed(node, a, b) for a, b in zip(one, two, strict=True))
            return self.graph.call_function(torch.Size, (items,)) if isinstance(one, torch.Size) else items
        if isinstance(one, torch.device):
            return self.graph.call_function(getattr, (self.copies[self.entry], "device"))
        if one == two:
            return one
        if isinstance(one, int) and two == 2 * one:
            if self.batch is None:
                self.batch = self.graph.call_method("size", (self.copies[self.entry], 0))
            return self.batch if one == 1 else self.graph.call_function(_times, (self.batch, one))
        raise ConversionError(
            f"Expected {node.name} to be a multiple of the batch size, got {one} for 1 and {two} for 2"
        )

    def finish(self, name: str, end: fx.Node) -> Stage:
        """The stage whose output is ``end``."""
        if end.op != "output":
            self.graph.output(self.copies[end])
        code = self.graph.python_code("self")
        used = _names_in(compile(code.src, name, "exec"))
        targets = [str(node.target) for node in self.graph.nodes if node.op in {"call_module", "get_attr"}]
        names = {key: value for key, value in code.globals.items() if key in used}
        return Stage(name, code.src, names, tuple(dict.fromkeys(targets)))


def _times(batch: int, factor: int) -> int:
    """``batch * factor``; stands in generated code."""
    return batch * factor


def _names_in(code: Any) -> set[str]:  # noqa: ANN401 - code objects have no public type
    """Global names that a code object and those inside it refer to."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= _names_in(constant)
    return names
