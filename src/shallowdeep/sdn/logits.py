"""The logits in what a classifier returns: a tensor, or one among others in a tuple, a dictionary or an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, fx, nn

NAMES = ("logits", "out", "output", "prediction")
"""What they are called in dictionaries, named tuples and objects; elsewhere they come first."""


def logits_of(output: Any) -> Any:  # noqa: ANN401 - whatever a network returns
    """Return the logits in a network's output, or the output as it is where there are none to be found.

    Args:
        output: a tensor, or tensors (while a network is traced: nodes) in a tuple, a dictionary, a named tuple, or an
            object with an attribute ``logits``, as transformers returns it.
    """
    if isinstance(output, (Tensor, fx.Node)):
        return _built(output) if isinstance(output, fx.Node) else output
    if isinstance(output, Mapping):
        values = dict(output)
    elif isinstance(output, (tuple, list)):
        values = dict(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    else:
        return getattr(output, "logits", output)
    named = next((values[name] for name in NAMES if name in values), None)
    if named is not None:
        return named
    return next((value for value in values.values() if isinstance(value, (Tensor, fx.Node))), output)


def _built(node: fx.Node) -> fx.Node:
    """The node of the logits that a named tuple or an object is built from, or the node itself."""
    if node.op != "call_function" or not isinstance(node.target, type):
        return node
    values = {**dict(zip(getattr(node.target, "_fields", ()), node.args, strict=False)), **node.kwargs}
    found = logits_of(values)
    return found if isinstance(found, fx.Node) else node


def return_logits_alone(graph: fx.Graph) -> None:
    """Make a graph return its logits, and leave out what only its other outputs need, such as auxiliary heads."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    before = set(output.all_input_nodes)
    chosen = logits_of(output.args[0])
    if chosen is output.args[0] or not isinstance(chosen, fx.Node):
        return
    output.args = (chosen,)
    dropped = {node for given in before for node in _needed(given)} - _needed(chosen)
    for node in reversed(list(graph.nodes)):
        if node in dropped and not node.users and node.op != "placeholder":
            graph.erase_node(node)


def _needed(node: fx.Node) -> set[fx.Node]:
    """A node and all that it is computed from."""
    found, waiting = {node}, [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


class LogitsModule(nn.Module):
    """A classifier that returns its logits alone, for exporters.

    Args:
        backbone: returns them as `logits_of` finds them.
        names: of its inputs, in turn, where they are given by name; none for a backbone of a single tensor.
    """

    def __init__(self, backbone: nn.Module, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.names = tuple(names)
        self.training = backbone.training

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Logits (N, C)."""
        given = dict(zip(self.names, (x, *others), strict=True)) if self.names else {}
        logits: Tensor = logits_of(self.backbone(**given) if given else self.backbone(x))
        return logits
