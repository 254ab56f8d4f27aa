"""From a module to a graph whose execution equals the module's, in eval and in train mode."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import Attribute
from torch.nn.modules.batchnorm import _BatchNorm

from shallowdeep.errors import ConversionError
from shallowdeep.input_spec import ALONE
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import Inputs, by_name
from shallowdeep.sdn.logits import return_logits_alone
from shallowdeep.sdn.modes import TracedMode, merge_modes
from shallowdeep.sdn.shapes import ShapeReader
from shallowdeep.sdn.traced_transformers import running_whole

MAX_ATTEMPTS = 100  # each failed attempt turns at least one more module into a leaf
_HELD = (
    *(fx.Proxy, Tensor, nn.Module, str, int, float, complex, tuple, list, dict, slice, range, Enum),
    *(torch.dtype, torch.device, torch.memory_format, torch.layout),
)  # what graphs can hold
_MACHINERY = (
    "/torch/fx/",
    "/torch/nn/modules/module.py",
    "/shallowdeep/sdn/tracing.py",
    "/shallowdeep/sdn/traced_transformers.py",
)  # frames that are not the user's code

# Functions that make tensors from sizes alone; torch dispatches on tensors only, so these miss traced sizes.
_FACTORIES = (
    *(torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.zeros),
    *(torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor),
)


@dataclass(frozen=True)
class TracedBackbone:
    """A backbone and its graph; the backbone itself is as it was.

    Attributes:
        backbone: the module.
        graph: its nodes carry ``meta["path"]``, the module that made them ("" for the root), and ``meta["line"]``,
            the source line as ``file:number``.
        constants: tensors that ``forward`` creates, by the name that ``get_attr`` nodes call them.
        opaque: modules that are run whole, with the reason.
        fixed_size: whether a Python number was made of the example's size, so that other sizes would go wrong.
    """

    backbone: nn.Module
    graph: fx.Graph
    constants: dict[str, Tensor]
    opaque: dict[str, str]
    fixed_size: bool = False


def _length(proxy: fx.Proxy) -> int:
    """The length of a shape; fx.Proxy's own ``__len__`` raises, and says why."""
    shapes = proxy.tracer.shapes if isinstance(proxy.tracer, _ModuleTracer) else None
    length = None if shapes is None else shapes.length(proxy.node)
    return fx.Proxy.__len__(proxy) if length is None else length


class _EndlessError(fx.proxy.TraceError, TypeError):
    """A traced value cannot be iterated over; a TypeError too, by which code finds out that a value has no items."""


def _number(proxy: fx.Proxy) -> int:
    """A number that was read from shapes; fx.Proxy has no ``__int__``."""
    shapes = proxy.tracer.shapes if isinstance(proxy.tracer, _ModuleTracer) else None
    number = None if shapes is None else shapes.number(proxy.node)
    if number is None:
        raise TypeError(f"{proxy.node.name} is not known while a network is traced, and cannot be made an int")
    return number


class _ValueProxy(fx.Proxy):
    """Stands for a traced value; the lengths of shapes, and numbers read from them, are known."""

    def __getattr__(self, k: str) -> Attribute:
        return _AttributeProxy(self, k)

    __len__ = _length
    __int__ = _number


class _AttributeProxy(Attribute):
    """Stands for an attribute of a traced value, such as its shape."""

    __len__ = _length


class _BufferProxy(fx.Proxy):
    """Stands for a buffer; its shape is a constant, as that of parameters is in torch.fx."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, shape: tuple[int, ...]) -> None:
        super().__init__(node, tracer)
        self._shape = torch.Size(shape)

    @property
    def shape(self) -> torch.Size:
        return self._shape

    @property
    def ndim(self) -> int:
        return len(self._shape)

    def size(self, dim: int | None = None) -> Any:  # noqa: ANN401 - the whole shape or one length
        return self._shape if dim is None else self._shape[dim]

    def dim(self) -> int:
        return len(self._shape)

    def numel(self) -> int:
        return self._shape.numel()


class _ModuleTracer(fx.Tracer):
    """Traces down to childless modules, and to modules in which tracing fails.

    Childless modules and every BatchNorm are leaves, so that they read their own mode when they run: a traced
    ``if self.training`` is frozen for ever. Buffers are read when the graph runs, as parameters are: they may change.
    """

    def __init__(self, names: tuple[str, ...], opaque: dict[str, str], shapes: ShapeReader | None) -> None:
        super().__init__(autowrap_functions=_FACTORIES, param_shapes_constant=True)
        self._autowrap_search.append(torch)
        self._names = names
        self.opaque = dict(opaque)
        self.shapes = shapes
        self.entered: list[str] = [""]
        self.paths: list[str] = [""]
        self.read: dict[str, fx.Proxy] = {}  # parameters and buffers read so far

    def to_bool(self, obj: fx.Proxy) -> bool:
        truth = None if self.shapes is None else self.shapes.truth(obj.node)
        return super().to_bool(obj) if truth is None else truth

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        length = None if self.shapes is None else self.shapes.length(obj.node)
        if length is None:
            raise _EndlessError(f"{obj.node.name} cannot be iterated over: how many values it has is not known")
        items: Any = obj
        return iter([items[place] for place in range(length)])

    def create_arg(self, a: Any) -> Any:  # noqa: ANN401 - as the base class has it
        if isinstance(a, _HELD) or a is None or a is ...:
            return super().create_arg(a)
        path = self._attribute(a)
        return super().create_arg(a) if path is None else self.create_node("get_attr", path, (), {})

    def _attribute(self, value: Any) -> str | None:  # noqa: ANN401 - any object
        """Where a module keeps an object that no graph can hold, such as its configuration; None where none does."""
        for path, module in self.root.named_modules():
            for name, own in vars(module).items():
                if own is value:
                    return f"{path}.{name}".lstrip(".")
        return None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _ValueProxy(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:  # noqa: ANN401 - the base class's signature
        if self.shapes is not None and self.shapes.running:
            return attr_val
        self.read = parameter_proxy_cache
        if isinstance(attr_val, Tensor) and not isinstance(attr_val, nn.Parameter):
            for name, buffer in self.root.named_buffers():
                if buffer is attr_val:
                    if name not in self.read:
                        node = self.create_node("get_attr", name, (), {})
                        self.read[name] = _BufferProxy(node, self, tuple(attr_val.shape))
                    return self.read[name]
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, (_BatchNorm, nn.MultiheadAttention)) or module_qualified_name in self.opaque:
            return True
        return next(m.children(), None) is None

    def create_args_for_root(
        self,
        root_fn: Any,  # noqa: ANN401 - as above
        is_module: bool,  # noqa: ARG002 - as above
        concrete_args: Any = None,  # noqa: ANN401, ARG002 - as above
    ) -> tuple[Any, list[Any]]:
        # The inputs of the example; whatever else forward takes keeps its Python default.
        given = [self.create_proxy("placeholder", name, (), {}) for name in self._names]
        if self._names == (ALONE,):
            return root_fn, [self.root, *given]

        def by_keyword(root: nn.Module, *values: Any) -> Any:  # noqa: ANN401 - what forward returns
            return root_fn(root, **dict(zip(self._names, values, strict=True)))

        return by_keyword, [self.root, *given]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:  # noqa: ANN401 - as above
        node = super().create_node(*args, **kwargs)
        node.meta["path"] = node.target if node.op == "call_module" else self.paths[-1]
        node.meta["line"] = _current_line()
        return node

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401 - as above
        if self.shapes is not None and self.shapes.running:
            return forward(*args, **kwargs)
        if not any(module is m for module in self.root.modules()) and next(tensors_of(m), None) is None:
            return forward(*args, **kwargs)  # made inside forward, such as nn.Flatten()(x): what it does is traced
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        self.entered.append(path)
        self.paths.append(path)
        made, stack = len(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:  # noqa: BLE001 - a user's forward may raise anything under tracing
            self.opaque[path] = f"it cannot be traced at {_reason(error)}"
        finally:
            self.paths.pop()
        for node in list(self.graph.nodes)[made:][::-1]:
            self.graph.erase_node(node)
            self.read.pop(str(node.target), None)
        self.module_stack = stack
        return super().call_module(m, forward, args, kwargs)


def trace(backbone: nn.Module, example_input: Inputs | None = None) -> TracedBackbone:
    """A graph that computes what ``backbone`` computes, in either mode.

    The backbone is traced twice, in eval and in train mode. Arguments that differ (``training=self.training``,
    ``dropout_p = p if self.training else 0``) are read again from their module at run time. A module that cannot
    be traced, or that takes another way in train mode, becomes a leaf and is run whole; the smallest one does.
    Python numbers that ``forward`` reads from a module with children keep the value they have now.

    Args:
        backbone: a module of one tensor, or of those that the example names; further arguments of its forward keep
            their defaults.
        example_input: (N, ...), or several of them by name; their sizes decide branches on shapes other than the batch
            size. Without it such branches cannot be traced.

    Raises:
        ConversionError: ``backbone.forward`` itself cannot be traced, or takes another way in train mode.
    """
    name = type(backbone).__name__
    opaque: dict[str, str] = {}
    inputs: Mapping[str, Tensor] | None = None if example_input is None else by_name(example_input)
    names = (ALONE,) if inputs is None else tuple(inputs)
    for _ in range(MAX_ATTEMPTS):
        modes = []
        for training in (False, True):
            shapes = None if inputs is None else ShapeReader(backbone, inputs)
            tracer = _ModuleTracer(names, opaque, shapes)
            modes.append(_trace_mode(backbone, tracer, training=training))
            if tracer.opaque != opaque:
                break
        if tracer.opaque != opaque:
            opaque = tracer.opaque
            continue
        culprit = merge_modes(*modes)
        if culprit is None:
            fixed = tracer.shapes is not None and tracer.shapes.fixed
            return TracedBackbone(backbone, modes[0].graph, modes[0].constants, opaque, fixed)
        while culprit and (culprit not in tracer.entered or culprit in opaque):  # a ModuleList, say, is never called
            culprit = culprit.rpartition(".")[0]
        if not culprit:
            raise ConversionError(
                f"{name}.forward takes another way in train mode than in eval mode, so no single graph stands for it; "
                "switch that off (auxiliary heads, for one), or move the part into a submodule of its own"
            )
        opaque[culprit] = "its forward takes another way in train mode"
    raise ConversionError(f"Expected fewer than {MAX_ATTEMPTS} modules that cannot be traced in {name}")


def _trace_mode(backbone: nn.Module, tracer: _ModuleTracer, *, training: bool) -> TracedMode:
    with evaluating(backbone), _without_additions(backbone) as additions:
        backbone.train(training)
        try:
            with running_whole(backbone, tracer):
                graph = tracer.trace(backbone)
        except Exception as error:
            raise ConversionError(
                f"{type(backbone).__name__}.forward cannot be traced at {_reason(error)}; move this step into a "
                "submodule of its own, which is then run whole, or mark the function with torch.fx.wrap"
            ) from error
        return_logits_alone(graph)
        for node in graph.nodes:
            if node.op == "call_method" and node.target == "view" and not _reads_as_dtype(node):
                node.target = "reshape"  # the same, and possible on maps that are laid out channels last
            node.meta.pop("is_wrapped", None)  # else generated code would register its functions with torch.fx for ever
        return TracedMode(graph, additions())


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of a module."""
    yield from module.parameters()
    yield from module.buffers()


def _reads_as_dtype(node: fx.Node) -> bool:
    """Whether a node views a tensor as another type, not as another shape."""
    return any(isinstance(given, torch.dtype) for given in (*node.args, *node.kwargs.values()))


@contextmanager
def _without_additions(module: nn.Module) -> Iterator[Callable[[], dict[str, Tensor]]]:
    """Take away from ``module``, at the end, the attributes that tracing adds to it: tensors that forward creates."""
    before = set(vars(module))
    try:
        yield lambda: {name: value for name, value in vars(module).items() if name not in before}
    finally:
        for name in set(vars(module)) - before:
            delattr(module, name)


def _reason(error: Exception) -> str:
    """``file:line (code): message``, of the last line of the user's code, in one line."""
    place = "an unknown line"
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if not any(part in filename for part in _MACHINERY):
            place = f"{filename}:{step.tb_lineno}"
        step = step.tb_next
    lines = str(error).strip().splitlines()
    return f"{place}: {lines[0] if lines else type(error).__name__}"


def _current_line() -> str:
    """``file:number`` of the user's code that is being traced; "" where there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack reads source files and is slow
    while frame is not None:
        filename = frame.f_code.co_filename
        if not any(part in filename for part in _MACHINERY):
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return ""
