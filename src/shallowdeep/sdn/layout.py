"""What each dimension of a traced value means, followed through the operations that made it.

The labels (see `axes`) follow from what the operations do, never from sizes alone: (N, 14, 14, 384) and
(N, 384, 14, 14) are both common.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from shallowdeep.sdn.axes import MOVING, Axes, Shape, moved, regrouped
from shallowdeep.sdn.profile import NodeProfile

MAP = ("N", "C", "H", "W")
MAP_LAST = ("N", "H", "W", "C")
TOKENS = ("N", "L", "C")
TOKEN_IDS = ("N", "L")
VECTOR = ("N", "C")
READABLE = (MAP, MAP_LAST, TOKENS, VECTOR)

_SPATIAL_MODULES = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.PixelShuffle, nn.Dropout2d),
)
_SPATIAL_FUNCTIONS = frozenset(
    {
        *("conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
        *("interpolate", "boolean_dispatch", "pixel_shuffle"),
    }
)
_LAST_AXIS_FUNCTIONS = frozenset({"linear", "layer_norm"})
_SPLITTING_FUNCTIONS = frozenset({"chunk", "split", "tensor_split"})
_EVIDENCE_DEPTH = 6  # shape-keeping operations looked through on the way to a telling consumer


@dataclass(frozen=True)
class Layout:
    """Axes of a value, and whether token 0 is a class token."""

    axes: Axes
    class_token: bool = False

    @property
    def readable(self) -> bool:
        """Whether an internal classifier can be put on it."""
        return self.axes in READABLE


def layouts(
    graph: fx.Graph, modules: dict[str, nn.Module], profiles: dict[fx.Node, NodeProfile]
) -> dict[fx.Node, Layout | None]:
    """The layout of every activation; None where the operations do not tell it."""
    walk = _LayoutWalk(modules, profiles)
    for node in graph.nodes:
        walk.found[node] = walk.produced(node) if profiles[node].activation else None
    for node in reversed(list(graph.nodes)):
        known = walk.found[node]
        if profiles[node].activation and profiles[node].shape is not None and (known is None or not known.readable):
            walk.found[node] = walk.consumed(node, _EVIDENCE_DEPTH) or known
    of_ids = any(layout is not None and layout.axes == TOKEN_IDS for layout in walk.found.values())
    if of_ids and any(walk.reads_first_token(node) for node in graph.nodes):
        tokens = [node for node, layout in walk.found.items() if layout is not None and layout.axes == TOKENS]
        walk.found.update(dict.fromkeys(tokens, Layout(TOKENS, class_token=True)))
    return walk.found


def operation_name(node: fx.Node) -> str:
    """The bare name of a function or method node: ``flatten`` for ``torch.flatten`` and ``x.flatten``."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


class _LayoutWalk:
    """Layouts found so far, and how to tell the next from what makes it or from what reads it."""

    def __init__(self, modules: dict[str, nn.Module], profiles: dict[fx.Node, NodeProfile]) -> None:
        self.modules, self.profiles = modules, profiles
        self.found: dict[fx.Node, Layout | None] = {}

    def produced(self, node: fx.Node) -> Layout | None:
        """The layout that the operation gives its result."""
        shape = self.profiles[node].shape
        if node.op == "placeholder":
            if self.profiles[node].beside:
                return Layout(TOKEN_IDS) if shape is not None and len(shape) == len(TOKEN_IDS) else None
            return Layout(MAP) if shape is not None and len(shape) == len(MAP) else None
        if node.op == "call_module":
            return self._by_module(node, self.modules[str(node.target)], shape)
        if shape is None:  # several tensors, to be read through getitem
            source = self._known_source(node)
            return self.found[source] if source is not None and operation_name(node) in _SPLITTING_FUNCTIONS else None
        return self._by_call(node, operation_name(node), shape)

    def _known_source(self, node: fx.Node) -> fx.Node | None:
        """The first input of ``node`` that is one activation of known layout."""
        sources = (s for s in node.all_input_nodes if self.profiles[s].activation)
        return next((s for s in sources if self.found[s] is not None and self.profiles[s].shape is not None), None)

    def _by_module(self, node: fx.Node, module: nn.Module, shape: Shape | None) -> Layout | None:
        if shape is not None and len(shape) == len(MAP) and isinstance(module, _SPATIAL_MODULES):
            return Layout(MAP)
        source = self._known_source(node)
        layout, before = (None, None) if source is None else (self.found[source], self.profiles[source].shape)
        if layout is None or before is None:
            return None
        dims = getattr(module, "dims", None)
        axes: Axes | None = None
        if type(module).__name__ == "Permute" and isinstance(dims, (list, tuple)):  # torchvision's
            axes = tuple(layout.axes[d] for d in dims)
        elif isinstance(module, nn.Flatten) and shape is not None:
            axes = regrouped(layout.axes, before, shape)
        elif isinstance(module, nn.Embedding):
            axes = (*layout.axes, "C")
        elif isinstance(module, nn.Linear) and shape is not None and len(shape) == len(layout.axes):
            return Layout((*layout.axes[:-1], "C"), layout.class_token)
        elif isinstance(module, nn.MultiheadAttention) or shape == before:  # attention's first result is like its query
            return layout
        return None if axes is None else Layout(axes)

    def _by_call(self, node: fx.Node, name: str, shape: Shape) -> Layout | None:
        if name in _SPATIAL_FUNCTIONS and len(shape) == len(MAP):
            return Layout(MAP)
        if name == "cat":
            return self._concatenated(node, len(shape))
        whole = next((s for s in node.all_input_nodes if self.profiles[s].activation), None)
        if name == "getitem" and whole is not None and self.profiles[whole].shape is None:  # one of several tensors
            part = self.found[whole]
            return part if part is not None and len(part.axes) == len(shape) else None
        source = self._known_source(node)
        layout, before = (None, None) if source is None else (self.found[source], self.profiles[source].shape)
        if layout is None or before is None:
            return None
        if name in MOVING:
            values = [self.profiles[a].values[0] if isinstance(a, fx.Node) else a for a in node.args[1:]]
            axes = moved(name, layout.axes, (before, shape), values, node.kwargs)
            return None if axes is None else Layout(axes, layout.class_token and axes == layout.axes)
        return self._kept(node, name, shape, layout)

    def _kept(self, node: fx.Node, name: str, shape: Shape, layout: Layout) -> Layout | None:
        """The layout after an operation that moves no dimension: elementwise ones, linear maps, padding."""
        if name == "embedding":
            return Layout((*layout.axes, "C"))
        if name in _LAST_AXIS_FUNCTIONS:
            return Layout((*layout.axes[:-1], "C"), layout.class_token) if len(layout.axes) == len(shape) else None
        activations = (s for s in node.all_input_nodes if self.profiles[s].activation)
        same = next((s for s in activations if self.profiles[s].shape == shape and self.found[s] is not None), None)
        if same is not None:
            return self.found[same]
        return layout if ("pad" in name or name == "roll") and len(shape) == len(layout.axes) else None

    def _concatenated(self, node: fx.Node, rank: int) -> Layout | None:
        """Concatenation keeps the axes; tokens joined after one token of parameters gain a class token."""
        parts = node.args[0] if node.args else node.kwargs.get("tensors")
        if not isinstance(parts, (list, tuple)):
            return self.found.get(parts) if isinstance(parts, fx.Node) else None
        nodes = [part for part in parts if isinstance(part, fx.Node)]
        layout = next((found for found in map(self.found.get, nodes) if found is not None), None)
        if layout is None or len(layout.axes) != rank:
            return None
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        first = self.profiles[nodes[0]]
        if layout.axes == TOKENS and dim in {1, -2} and not first.activation:
            return Layout(TOKENS, class_token=first.shape is not None and first.shape[1:2] == (1,))
        return layout

    def reads_first_token(self, node: fx.Node) -> bool:
        """Whether a node takes token 0 of token ids' features alone, as heads on a class token do: ``x[:, 0]``."""
        if operation_name(node) != "getitem" or len(node.args) != 2 or not isinstance(node.args[0], fx.Node):  # noqa: PLR2004 - (x, index)
            return False
        layout, index = self.found.get(node.args[0]), node.args[1]
        if layout is None or layout.axes != TOKENS or not isinstance(index, tuple):
            return False
        return len(index) > 1 and index[0] == slice(None) and index[1] == 0 and all(i == slice(None) for i in index[2:])

    def consumed(self, node: fx.Node, depth: int) -> Layout | None:
        """The layout that the operations reading ``node`` require."""
        shape = self.profiles[node].shape
        if shape is None or depth == 0:
            return None
        for user in node.users:
            if user.op == "call_module":
                required = _required(self.modules[str(user.target)], shape)
            else:
                required = (
                    Layout(MAP) if operation_name(user) in _SPATIAL_FUNCTIONS and len(shape) == len(MAP) else None
                )
            if required is None and self.profiles[user].shape == shape:
                required = self.consumed(user, depth - 1)
            if required is not None:
                return required
        return None


def _required(module: nn.Module, shape: Shape) -> Layout | None:
    """The layout of ``shape`` that ``module`` reads."""
    if len(shape) == len(MAP) and isinstance(module, _SPATIAL_MODULES):
        return Layout(MAP)
    reads_last = isinstance(module, nn.Linear) or (
        type(module) is nn.LayerNorm and module.normalized_shape == (shape[-1],)
    )
    by_rank = {len(MAP_LAST): Layout(MAP_LAST), len(TOKENS): Layout(TOKENS)}
    return by_rank.get(len(shape)) if reads_last else None
