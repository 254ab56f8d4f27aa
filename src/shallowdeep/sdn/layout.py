"""What each dimension of a traced value means, followed through the operations that made it.

Axes are labels, one per dimension: N samples, C channels or features, H and W space, L tokens, ? unknown. They
follow from what the operations do, never from sizes alone: (N, 14, 14, 384) and (N, 384, 14, 14) are both common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import fx, nn

from shallowdeep.sdn.profile import NodeProfile

MAP = ("N", "C", "H", "W")
MAP_LAST = ("N", "H", "W", "C")
TOKENS = ("N", "L", "C")
VECTOR = ("N", "C")
READABLE = (MAP, MAP_LAST, TOKENS, VECTOR)

_SPATIAL_MODULES = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.PixelShuffle, nn.Dropout2d),
)
_SPATIAL_FUNCTIONS = frozenset(
    ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"]
    + ["interpolate", "boolean_dispatch", "pixel_shuffle"]
)
_LAST_AXIS_FUNCTIONS = frozenset(["linear", "layer_norm"])
_EVIDENCE_DEPTH = 6  # shape-keeping operations looked through on the way to a telling consumer


@dataclass(frozen=True)
class Layout:
    """Axes of a value, and whether token 0 is a class token."""

    axes: tuple[str, ...]
    class_token: bool = False

    @property
    def readable(self) -> bool:
        """Whether an internal classifier can be put on it."""
        return self.axes in READABLE


def layouts(
    graph: fx.Graph, modules: dict[str, nn.Module], profiles: dict[fx.Node, NodeProfile]
) -> dict[fx.Node, Layout | None]:
    """The layout of every single-tensor activation; None where the operations do not tell it."""
    found: dict[fx.Node, Layout | None] = {}
    for node in graph.nodes:
        known = profiles[node]
        found[node] = _layout(node, modules, profiles, found) if known.activation else None
    for node in reversed(list(graph.nodes)):
        shape = profiles[node].shape
        if profiles[node].activation and shape is not None and (found[node] is None or not found[node].readable):  # type: ignore[union-attr] - None is tested first
            found[node] = _from_consumers(node, modules, profiles, _EVIDENCE_DEPTH) or found[node]
    return found


def operation_name(node: fx.Node) -> str:
    """The bare name of a function or method node: ``flatten`` for ``torch.flatten`` and ``x.flatten``."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _layout(
    node: fx.Node,
    modules: dict[str, nn.Module],
    profiles: dict[fx.Node, NodeProfile],
    found: dict[fx.Node, Layout | None],
) -> Layout | None:
    shape = profiles[node].shape
    if node.op == "placeholder":
        return Layout(MAP) if shape is not None and len(shape) == len(MAP) else None
    sources = [source for source in node.all_input_nodes if profiles[source].activation]
    source = next((s for s in sources if found[s] is not None and profiles[s].shape is not None), None)
    if node.op == "call_module":
        return _module_layout(modules[str(node.target)], shape, source, profiles, found)
    name = operation_name(node)
    if shape is None:  # several tensors (chunk, split, unbind): getitem of them looks through
        return found[source] if source is not None and name in {"chunk", "split", "tensor_split"} else None
    if name in _SPATIAL_FUNCTIONS and len(shape) == len(MAP):
        return Layout(MAP)
    if name == "getitem" and profiles[sources[0]].shape is None:  # one of several tensors
        whole = found[sources[0]]
        return whole if whole is not None and len(whole.axes) == len(shape) else None
    if name == "cat":
        return _cat_layout(node, profiles, found, len(shape))
    if source is None:
        return None
    layout, source_shape = found[source], profiles[source].shape
    if layout is None or source_shape is None:
        return None
    if name in _LAST_AXIS_FUNCTIONS:
        return Layout((*layout.axes[:-1], "C"), layout.class_token) if len(layout.axes) == len(shape) else None
    rule = _AXIS_RULES.get(name)
    if rule is not None:
        values = [profiles[a].values[0] if isinstance(a, fx.Node) else a for a in node.args[1:]]
        axes = rule(layout.axes, source_shape, shape, values, node.kwargs)
        return None if axes is None else Layout(axes, layout.class_token and axes == layout.axes)
    same = next((s for s in sources if profiles[s].shape == shape and found[s] is not None), None)
    if same is not None:
        return found[same]
    if name in {"pad", "roll"} or "pad" in name:
        return layout if len(shape) == len(layout.axes) else None
    return None


def _module_layout(
    module: nn.Module,
    shape: tuple[int, ...] | None,
    source: fx.Node | None,
    profiles: dict[fx.Node, NodeProfile],
    found: dict[fx.Node, Layout | None],
) -> Layout | None:
    if shape is not None and len(shape) == len(MAP) and isinstance(module, _SPATIAL_MODULES):
        return Layout(MAP)
    if source is None:
        return None
    layout, source_shape = found[source], profiles[source].shape
    if layout is None or source_shape is None:
        return None
    if isinstance(module, nn.MultiheadAttention):  # a tuple; its first item is read through getitem
        return layout
    if shape is None:
        return None
    if isinstance(module, nn.Linear) and len(shape) == len(layout.axes):
        return Layout((*layout.axes[:-1], "C"), layout.class_token)
    if isinstance(module, nn.Flatten):
        axes = _regroup(layout.axes, source_shape, shape)
        return None if axes is None else Layout(axes)
    dims = getattr(module, "dims", None)
    if type(module).__name__ == "Permute" and isinstance(dims, (list, tuple)):
        return Layout(tuple(layout.axes[d] for d in dims))
    return layout if shape == source_shape else None


def _cat_layout(
    node: fx.Node, profiles: dict[fx.Node, NodeProfile], found: dict[fx.Node, Layout | None], rank: int
) -> Layout | None:
    """Concatenation keeps the axes; tokens joined after a parameter gain a class token."""
    parts = node.args[0] if node.args else node.kwargs.get("tensors")
    if not isinstance(parts, (list, tuple)):
        return found.get(parts) if isinstance(parts, fx.Node) else None
    nodes = [part for part in parts if isinstance(part, fx.Node)]
    layout = next((found[part] for part in nodes if found[part] is not None), None)
    if layout is None or len(layout.axes) != rank:
        return None
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if layout.axes == TOKENS and dim == 1 and not profiles[nodes[0]].activation:
        return Layout(TOKENS, class_token=True)
    return layout


Axes = tuple[str, ...]
Shape = tuple[int, ...]


def _flat(values: Sequence[Any]) -> list[int]:
    return [int(v) for v in (values[0] if len(values) == 1 and isinstance(values[0], (list, tuple)) else values)]


def _permuted(axes: Axes, _: Shape, __: Shape, values: Sequence[Any], kwargs: dict[str, Any]) -> Axes:
    return tuple(axes[d] for d in _flat(values or [kwargs["dims"]]))


def _transposed(axes: Axes, _: Shape, __: Shape, values: Sequence[Any], kwargs: dict[str, Any]) -> Axes:
    order = list(axes)
    a, b = values if values else (kwargs["dim0"], kwargs["dim1"])
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _regroup(axes: Axes, before: Shape, after: Shape, *_: Any) -> Axes | None:  # noqa: ANN401 - the rules' signature
    """Axes after a reshape: groups of dimensions with equal products, H and W merged to L, all else with C to C."""
    labels: list[str] = []
    i = 0
    for size in after:
        if i < len(before) and before[i] == size:
            group = [axes[i]]
            i += 1
        else:
            start = i
            while i < len(before) and prod(before[start:i]) < size:
                i += 1
            if prod(before[start:i]) != size or start == i:
                return None
            group = list(axes[start:i])
        labels.append(_merged(group))
    if prod(before[i:]) != 1:
        return None
    if i < len(before) and labels:
        labels[-1] = _merged([labels[-1], *axes[i:]])
    return tuple(labels)


def _merged(group: list[str]) -> str:
    if len(group) == 1:
        return group[0]
    if set(group) <= {"H", "W"}:
        return "L"
    return "C" if "C" in group and set(group) <= {"C", "H", "W", "L"} else "?"


def _reduced(axes: Axes, before: Shape, after: Shape, values: Sequence[Any], kwargs: dict[str, Any]) -> Axes | None:
    if len(before) == len(after):
        return axes
    dims = values[0] if values else kwargs.get("dim")
    if dims is None:
        return None
    gone = {d % len(axes) for d in ([dims] if isinstance(dims, int) else dims)}
    return tuple(label for d, label in enumerate(axes) if d not in gone)


def _indexed(axes: Axes, _: Shape, after: Shape, values: Sequence[Any], __: dict[str, Any]) -> Axes | None:
    """Slices keep an axis, integers drop it, None adds an unknown one."""
    index = values[0] if isinstance(values[0], tuple) else (values[0],)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = index[:at] + (slice(None),) * (len(axes) - len(index) + 1) + index[at + 1 :]
    left = list(axes)
    labels: list[str] = []
    for item in index:
        if item is None:
            labels.append("?")
            continue
        label = left.pop(0)
        if isinstance(item, slice):
            labels.append(label)
        elif not isinstance(item, (int, fx.Node)):
            return None
    labels += left
    return tuple(labels) if len(labels) == len(after) else None


_AXIS_RULES: dict[str, Callable[..., Axes | None]] = {
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
    "flatten": _regroup,
    "reshape": _regroup,
    "view": _regroup,
    "mean": _reduced,
    "sum": _reduced,
    "amax": _reduced,
    "getitem": _indexed,
}


def _from_consumers(
    node: fx.Node, modules: dict[str, nn.Module], profiles: dict[fx.Node, NodeProfile], depth: int
) -> Layout | None:
    """The layout that the operations reading ``node`` require."""
    shape = profiles[node].shape
    for user in node.users:
        if shape is None or depth == 0:
            return None
        if user.op == "call_module":
            module = modules[str(user.target)]
            if len(shape) == len(MAP) and isinstance(module, _SPATIAL_MODULES):
                return Layout(MAP)
            last = isinstance(module, nn.Linear) or (
                type(module) is nn.LayerNorm and module.normalized_shape == (shape[-1],)
            )
            if last and len(shape) in {len(MAP_LAST), len(TOKENS)}:
                return Layout(MAP_LAST if len(shape) == len(MAP_LAST) else TOKENS)
        elif operation_name(user) in _SPATIAL_FUNCTIONS and len(shape) == len(MAP):
            return Layout(MAP)
        if profiles[user].shape == shape:
            beyond = _from_consumers(user, modules, profiles, depth - 1)
            if beyond is not None:
                return beyond
    return None
