"""Cut points: the places in a traced backbone where one tensor is alive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.layout import Layout, layouts
from shallowdeep.sdn.profile import NodeProfile
from shallowdeep.sdn.tracing import TracedBackbone

LATEST_DEPTH = 0.95  # a later exit saves less than the smallest gap between two exits


@dataclass(frozen=True)
class CutPoint:
    """A node whose output is the only live activation after it.

    Attributes:
        node: the node in the traced graph.
        name: the node's name, unique in the graph; what saved networks refer to.
        module: path of the outermost module that ends here, for people.
        macs: MACs executed up to and including the node, per sample.
        depth: share of the backbone's MACs executed up to and including the node, in (0, 1).
        level: how deep in the module tree that module lies; 1 for a child of the root.
        shape: shape of the tensor on one sample.
        layout: what its dimensions mean.
    """

    node: fx.Node
    name: str
    module: str
    macs: int
    depth: float
    level: int
    shape: tuple[int, ...]
    layout: Layout


def live_alone(graph: fx.Graph, profiles: dict[fx.Node, NodeProfile]) -> list[fx.Node]:
    """Nodes after which their own output is the only live activation, in execution order; O(nodes + edges).

    Shape integers, parameters and what is computed from these alone do not count: they can be recomputed. Nor does what
    follows from the inputs without weights, such as an attention mask: the inputs travel beside the activation.
    Neither does reading a tensor's shape keep it alive.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    last_use: dict[fx.Node, int] = {}
    for node, i in order.items():
        for source in node.all_input_nodes if profiles[node].alive else ():
            last_use[source] = i
    ending: dict[int, int] = {}
    alive = 0
    found = []
    for node, i in order.items():
        alive -= ending.pop(i, 0)
        if not profiles[node].alive or node not in last_use:
            continue
        alive += 1
        ending[last_use[node]] = ending.get(last_use[node], 0) + 1
        if alive == 1:
            found.append(node)
    return found


def cut_points(traced: TracedBackbone, profiles: dict[fx.Node, NodeProfile]) -> list[CutPoint]:
    """Every usable cut point, by depth: one per depth, the last of those with equal depth.

    The last of equals comes after norm, activation and pooling, so that no in-place operation overwrites what
    an internal classifier reads. Left out are the input, the last 5 % of the MACs, and values whose layout is unknown.

    Raises:
        ConversionError: there is none; names the module and line whose value stays alive longest.
    """
    graph = traced.graph
    done, total = _cumulative_macs(graph, profiles)
    if total == 0:
        name = type(traced.backbone).__name__
        raise ConversionError(f"Expected a network with convolutions or matrix products, got none in {name}")
    modules = dict(traced.backbone.named_modules())
    known = layouts(graph, modules, profiles)
    ends = _module_ends(graph, profiles)
    alone = [node for node in live_alone(graph, profiles) if 0 < done[node] <= LATEST_DEPTH * total]
    best: dict[int, CutPoint] = {}
    for node in alone:
        path = str(node.meta.get("path", ""))
        level, module = ends.get(node, (path.count(".") + 2, path))
        earlier = best.get(done[node])
        if earlier is not None and earlier.level < level:
            level, module = earlier.level, earlier.module
        profile, layout = profiles[node], known[node]
        if profile.shape is not None and profile.batched and not profile.overwritten and layout and layout.readable:
            name, depth = module or node.name, done[node] / total
            best[done[node]] = CutPoint(node, node.name, name, done[node], depth, level, profile.shape, layout)
    if not best:
        raise ConversionError(_explain(traced, profiles, alone))
    return [best[depth] for depth in sorted(best)]


def _cumulative_macs(graph: fx.Graph, profiles: dict[fx.Node, NodeProfile]) -> tuple[dict[fx.Node, int], int]:
    total = 0
    done = {}
    for node in graph.nodes:
        total += profiles[node].macs
        done[node] = total
    return done, total


def _prefixes(path: str) -> Iterable[str]:
    parts = path.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _module_ends(graph: fx.Graph, profiles: dict[fx.Node, NodeProfile]) -> dict[fx.Node, tuple[int, str]]:
    """For each node that is the last activation of some module: (level, path) of the outermost such module."""
    last: dict[str, fx.Node] = {}
    for node in graph.nodes:
        path = str(node.meta.get("path", ""))
        if profiles[node].activation and path:
            for prefix in _prefixes(path):
                last[prefix] = node
    ends: dict[fx.Node, tuple[int, str]] = {}
    for path, node in last.items():
        ends[node] = min(ends.get(node, (path.count(".") + 1, path)), (path.count(".") + 1, path))
    return ends


def _explain(traced: TracedBackbone, profiles: dict[fx.Node, NodeProfile], alone: list[fx.Node]) -> str:
    name = type(traced.backbone).__name__
    if traced.opaque:
        path, reason = next(iter(traced.opaque.items()))
        return (
            f"{name} has no cut point: {path} is run whole, because {reason}; move that step "
            "into a submodule of its own, or mark the function with torch.fx.wrap"
        )
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    readers = {node: [user for user in node.users if profiles[user].alive] for node in order}
    inner = [node for node in order if profiles[node].alive and readers[node]]
    longest = max(inner, key=lambda node: max(order[user] for user in readers[node]) - order[node])
    reader = max(readers[longest], key=lambda node: order[node])
    made, reads = (node.meta.get("path") or f"{name}.forward" for node in (longest, reader))
    unread = f" ({len(alone)} places hold one tensor, but none that an internal classifier can read)" if alone else ""
    return (
        f"{name} has no cut point{unread}: the output of {made} stays alive until {reads} reads it at "
        f"{reader.meta.get('line') or 'an unknown line'}; put the layers between the two into one submodule, or "
        "convert a network whose layers follow one another"
    )
