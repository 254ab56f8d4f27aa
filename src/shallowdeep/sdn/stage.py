"""A stage: the part of a backbone between two cut points, as a function of the backbone, one tensor, and its inputs."""

from __future__ import annotations

import importlib
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

from shallowdeep.errors import ConversionError
from shallowdeep.input_spec import ALONE
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.profile import NodeProfile
from shallowdeep.sdn.tracing import TracedBackbone

NOTHING: Mapping[str, Tensor] = MappingProxyType({})
"""No inputs: what a network of one tensor hands on besides it."""


@dataclass(frozen=True)
class Stage:
    """Generated code that runs one part of a backbone, on the backbone's own modules and parameters.

    A stage owns no parameters: it looks them up in the backbone it is given, so that state dicts keep the
    backbone's names and copying, pickling and averaging see one module tree.

    Attributes:
        name: shown in tracebacks.
        source: Python source of ``forward(self, x, ...)``, ``self`` being the backbone.
        names: what the source refers to besides builtins.
        targets: paths of the backbone's modules, parameters and buffers that the source reads.
        beside: names of the network's inputs that the source reads besides ``x``, in the order it takes them.
    """

    name: str
    source: str
    names: dict[str, Any]
    targets: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @cached_property
    def function(self) -> Callable[..., Tensor]:
        """The compiled ``forward``."""
        filename = f"<shallowdeep stage {self.name}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(keepends=True), filename)
        scope = dict(self.names)
        exec(compile(self.source, filename, "exec"), scope)  # noqa: S102 - source made by torch.fx from the user's own module
        function: Callable[..., Tensor] = scope["forward"]
        return function

    def __call__(self, backbone: nn.Module, x: Tensor, inputs: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Output of this part of ``backbone``.

        Args:
            backbone: whole.
            x: the previous stage's output; for the first stage the first input.
            inputs: the network's, by name; those that it reads ``beside`` at least.
        """
        return self.function(backbone, x, *(inputs[name] for name in self.beside))

    def __getstate__(self) -> dict[str, Any]:
        names = {k: _ModuleName(v.__name__) if isinstance(v, ModuleType) else v for k, v in self.names.items()}
        return {
            "name": self.name, "source": self.source, "names": names, "targets": self.targets, "beside": self.beside
        }  # fmt: skip

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

    def __init__(self, names: Sequence[str] = (ALONE,)) -> None:
        self.entry, *others = names
        self.beside = tuple(others)

    def __call__(self, backbone: nn.Module, x: Tensor, inputs: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Logits of ``backbone``."""
        beside = {name: inputs[name] for name in self.beside}
        output: Tensor = logits_of(backbone(x) if self.entry == ALONE else backbone(**{self.entry: x}, **beside))
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
        self.last_input = self.copies[entry]
        self.sizes: dict[int, fx.Node] = {}  # of the entry, by axis

    def add(self, node: fx.Node) -> None:
        """Copy ``node``, whose inputs are in this stage or can be recomputed.

        Shape integers of earlier stages' tensors are left out, to be recomputed where they are used.
        """
        if node.op == "output":
            self.graph.output(fx.map_arg(node.args[0], self._value))
            return
        if node.op == "placeholder":
            return  # taken where it is read
        profile = self.profiles[node]
        here = all(source in self.copies for source in node.all_input_nodes)
        if here or profile.alive or not (profile.tensorless or profile.beside):
            self._copy(node)

    def _copy(self, node: fx.Node) -> fx.Node:
        if node.op == "get_attr" and str(node.target) in self.constants:
            constant = self.constants[str(node.target)]
            self.copies[node] = self.graph.call_function(constant, (self.copies[self.entry],))
        else:
            wanted = self._stand_in if self.profiles[node].sizes_alone else self._value
            self.copies[node] = self.graph.node_copy(node, wanted)
        return self.copies[node]

    def _stand_in(self, node: fx.Node) -> Any:  # noqa: ANN401 - as `_value`
        """As `_value`, but for an activation of an earlier stage, of which the sizes alone are read."""
        profile = self.profiles[node]
        if node in self.copies or not profile.alive or profile.dtype is None:
            return self._value(node)
        shape = tuple(self._recomputed(node, sizes) for sizes in zip(*profile.shapes, strict=True))
        device = self.graph.call_function(getattr, (self.copies[self.entry], "device"))
        return self.graph.call_function(torch.empty, (shape,), {"dtype": profile.dtype, "device": device})

    def _value(self, node: fx.Node) -> Any:  # noqa: ANN401 - a node or a constant structure of nodes
        if node in self.copies:
            return self.copies[node]
        profile = self.profiles[node]
        if node.op == "placeholder":
            return self._input(node)
        if profile.alive:
            raise ConversionError(f"Expected one live tensor after {self.entry.name}, but {node.name} is read later")
        read = any(self.profiles[source].activation for source in node.all_input_nodes)
        if read and not (profile.beside or profile.sizes_alone):
            return self._recomputed(node, profile.values)  # the shape of an activation
        return self._copy(node)  # made of such shapes, of parameters, of inputs, or of flags read from their modules

    def _input(self, node: fx.Node) -> fx.Node:
        """One of the network's inputs, which is handed to this stage too."""
        with self.graph.inserting_after(self.last_input):
            self.last_input = self.copies[node] = self.graph.placeholder(str(node.target))
        return self.copies[node]

    def _recomputed(self, node: fx.Node, values: Sequence[Any]) -> Any:  # noqa: ANN401 - any traced constant
        """What was read from an activation's shape, as constants and multiples of the sizes of this stage's input.

        Args:
            node: that read it.
            values: on one sample, on two, and on a shorter one where lengths vary.
        """
        one = values[0]
        if isinstance(one, (tuple, list)):
            items = tuple(self._recomputed(node, each) for each in zip(*values, strict=True))
            return self.graph.call_function(torch.Size, (items,)) if isinstance(one, torch.Size) else items
        if isinstance(one, torch.device):
            return self.graph.call_function(getattr, (self.copies[self.entry], "device"))
        if all(value == one for value in values):
            return one
        for axis, sizes in enumerate(zip(*self.profiles[self.entry].shapes, strict=True)):
            if isinstance(one, int) and sizes[0] and one % sizes[0] == 0:
                factor = one // sizes[0]
                if all(value == factor * size for value, size in zip(values, sizes, strict=True)):
                    return (
                        self._size(axis)
                        if factor == 1
                        else self.graph.call_function(_times, (self._size(axis), factor))
                    )
        shorter = f", {values[2]} for one that is a token shorter" if len(values) > 2 else ""  # noqa: PLR2004 - runs
        raise ConversionError(
            f"Expected {node.name} to be a multiple of the batch size{' or of the length' if shorter else ''}, got "
            f"{one} for 1 and {values[1]} for 2{shorter}"
        )

    def _size(self, axis: int) -> fx.Node:
        """The size of this stage's input along an axis."""
        if axis not in self.sizes:
            self.sizes[axis] = self.graph.call_method("size", (self.copies[self.entry], axis))
        return self.sizes[axis]

    def finish(self, name: str, end: fx.Node) -> Stage:
        """The stage whose output is ``end``."""
        if end.op != "output":
            self.graph.output(self.copies[end])
        code = self.graph.python_code("self")
        used = _names_in(compile(code.src, name, "exec"))
        targets = [str(node.target) for node in self.graph.nodes if node.op in {"call_module", "get_attr"}]
        names = {key: value for key, value in code.globals.items() if key in used}
        _, *beside = (str(node.target) for node in self.graph.nodes if node.op == "placeholder")
        return Stage(name, code.src, names, tuple(dict.fromkeys(targets)), tuple(beside))


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
