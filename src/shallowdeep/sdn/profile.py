"""One instrumented run of a traced backbone: what each node's value is and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from shallowdeep.cost import MacCounter, counting_macs
from shallowdeep.errors import ConversionError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.shapes import reads_metadata
from shallowdeep.sdn.tracing import TracedBackbone


@dataclass(frozen=True)
class NodeProfile:
    """What one node did on a run of one sample and a run of two.

    Attributes:
        macs: MACs of this node alone, per sample.
        shape: shape on one sample where the value is a single tensor, else None.
        activation: the value depends on what is in the images: a tensor computed from them, or a number read from one.
        batched: the value is a single tensor whose dimension 0 is the batch.
        overwritten: an in-place operation changed the value after it was computed.
        tensorless: the value holds no tensor.
        values: the values on one sample and on two where they hold no tensor (shape integers and the like).
    """

    macs: int
    shape: tuple[int, ...] | None
    activation: bool
    batched: bool
    overwritten: bool
    tensorless: bool
    values: tuple[Any, Any]


def tensors_in(value: Any) -> Iterator[Tensor]:  # noqa: ANN401 - any traced value
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


class _Recorder(fx.Interpreter):
    """Runs a graph node by node and keeps every value, its version when made and the MACs it took."""

    def __init__(self, traced: TracedBackbone, counter: MacCounter) -> None:
        super().__init__(traced.backbone, garbage_collect_values=False, graph=traced.graph)
        self.counter = counter
        self.constants = traced.constants
        self.values: dict[fx.Node, Any] = {}
        self.versions: dict[fx.Node, int] = {}
        self.macs: dict[fx.Node, int] = {}

    def fetch_attr(self, target: str) -> Any:  # noqa: ANN401 - the base class's signature
        return self.constants[target] if target in self.constants else super().fetch_attr(target)

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - the base class's signature
        before = self.counter.total
        value = super().run_node(n)
        self.macs[n] = self.counter.total - before
        self.values[n] = value
        self.versions[n] = value._version if isinstance(value, Tensor) else 0  # noqa: SLF001 - autograd's own in-place counter
        return value


def _record(traced: TracedBackbone, images: Tensor) -> _Recorder:
    with torch.no_grad(), evaluating(traced.backbone), counting_macs() as counter:
        recorder = _Recorder(traced, counter)
        try:
            recorder.run(images)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConversionError(
                f"Expected {type(traced.backbone).__name__} to run on an example input of shape {tuple(images.shape)}, "
                f"{images.dtype}, on {images.device}, got: {reason}"
            ) from error
    return recorder


def profile(traced: TracedBackbone, example_input: Tensor) -> dict[fx.Node, NodeProfile]:
    """A `NodeProfile` of every node, in execution order.

    Args:
        traced: the graph and its backbone; left in the modes it came in.
        example_input: (N, 3, H, W) float images; only the first is used, once alone and once doubled.

    Raises:
        ConversionError: the backbone cannot run on such an input.
    """
    one = _record(traced, example_input[:1])
    two = _record(traced, example_input[:1].repeat(2, *[1] * (example_input.dim() - 1)))
    profiles: dict[fx.Node, NodeProfile] = {}
    for node in traced.graph.nodes:
        value, doubled = one.values[node], two.values[node]
        has_tensor = next(tensors_in(value), None) is not None
        fed = node.op == "placeholder" or any(profiles[source].activation for source in node.all_input_nodes)
        tensor = value if isinstance(value, Tensor) else None
        profiles[node] = NodeProfile(
            macs=one.macs[node],
            shape=None if tensor is None else tuple(tensor.shape),
            activation=fed and (has_tensor or not reads_metadata(node)),
            batched=tensor is not None and tensor.dim() > 0 and tensor.shape[0] == 1 and doubled.shape[0] == 2,  # noqa: PLR2004 - one sample and two
            overwritten=tensor is not None and tensor._version != one.versions[node],  # noqa: SLF001 - as above
            tensorless=not has_tensor,
            values=(None, None) if has_tensor else (value, doubled),
        )
    return profiles
