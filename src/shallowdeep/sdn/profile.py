"""One instrumented run of a traced backbone: what each node's value is and costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from shallowdeep.cost import MacCounter, counting_macs
from shallowdeep.errors import ConversionError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import Inputs, by_name, repeated, sequence_length, shortened
from shallowdeep.sdn.shapes import reads_metadata
from shallowdeep.sdn.tracing import TracedBackbone

_DRAWS = 4  # of other values, to see whether a module reads any
SHORTEST = 2  # tokens of an example, above which a shorter one is run too


@dataclass(frozen=True)
class NodeProfile:
    """What one node did on a run of one sample, on one of two, and where lengths vary on one of a shorter sample.

    Attributes:
        macs: MACs of this node alone, per sample.
        shape: shape on one sample where the value is a single tensor, else None.
        activation: the value depends on what is in the inputs: a tensor computed from them, or a number read from one.
        beside: it does, but without weights, and on nothing but integers and inputs after the first (an attention mask,
            say): later stages compute it again from the inputs.
        sizes_alone: a module without weights made it, which reads nothing of activations but their sizes and types, as
            rotary position embeddings do.
        batched: the value is a single tensor whose dimension 0 is the batch.
        overwritten: an in-place operation changed the value after it was computed.
        tensorless: the value holds no tensor.
        values: the values in each run where they hold no tensor (shape integers and the like).
        shapes: the shape in each run where the value is a single tensor.
        dtype: of the value where it is a single tensor.
    """

    macs: int
    shape: tuple[int, ...] | None
    activation: bool
    beside: bool
    sizes_alone: bool
    batched: bool
    overwritten: bool
    tensorless: bool
    values: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype | None

    @property
    def alive(self) -> bool:
        """Whether the value must be handed on: it neither follows from shapes nor can be computed from the inputs."""
        return self.activation and not self.beside


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


def _record(traced: TracedBackbone, inputs: Inputs) -> _Recorder:
    with torch.no_grad(), evaluating(traced.backbone), counting_macs() as counter:
        recorder = _Recorder(traced, counter)
        try:
            recorder.run(*by_name(inputs).values())
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            told = "; ".join(f"{tuple(x.shape)}, {x.dtype}, on {x.device}" for x in by_name(inputs).values())
            raise ConversionError(
                f"Expected {type(traced.backbone).__name__} to run on an example input of shape {told}, got: {reason}"
            ) from error
    return recorder


def profile(traced: TracedBackbone, example_input: Inputs) -> dict[fx.Node, NodeProfile]:
    """A `NodeProfile` of every node, in execution order.

    Args:
        traced: the graph and its backbone; left in the modes it came in.
        example_input: (N, C, H, W) float images, or what else the graph reads; only the first sample is used, once
            alone and once doubled, and of token ids (N, L) once a token shorter.

    Raises:
        ConversionError: the backbone cannot run on such an input.
    """
    single, length = repeated(example_input, 1), sequence_length(example_input)
    one, two = _record(traced, single), _record(traced, repeated(example_input, 2))
    runs = [one, two]
    if length is not None and length > SHORTEST:
        runs.append(_record(traced, shortened(single, length - 1)))
    modules = dict(traced.backbone.named_modules())
    profiles: dict[fx.Node, NodeProfile] = {}
    for node in traced.graph.nodes:
        values = [run.values[node] for run in runs]
        value, doubled = values[:2]
        has_tensor = any(next(tensors_in(each), None) is not None for each in values)
        fed = node.op == "placeholder" or any(profiles[source].activation for source in node.all_input_nodes)
        tensor = value if isinstance(value, Tensor) else None
        activation = fed and (has_tensor or not reads_metadata(node))
        sizes_alone = activation and _sizes_alone(node, one, profiles, modules)
        activation = activation and not sizes_alone
        profiles[node] = NodeProfile(
            macs=one.macs[node],
            shape=None if tensor is None else tuple(tensor.shape),
            activation=activation,
            sizes_alone=sizes_alone,
            beside=activation and not one.macs[node] and _beside(node, value, profiles, traced, modules),
            batched=tensor is not None and tensor.dim() > 0 and tensor.shape[0] == 1 and doubled.shape[0] == 2,  # noqa: PLR2004 - one sample and two
            overwritten=tensor is not None and tensor._version != one.versions[node],  # noqa: SLF001 - as above
            tensorless=not has_tensor,
            values=(None,) * len(runs) if has_tensor else tuple(values),
            shapes=() if tensor is None else tuple(tuple(each.shape) for each in values),
            dtype=None if tensor is None else tensor.dtype,
        )
    return profiles


def _beside(
    node: fx.Node,
    value: Any,  # noqa: ANN401 - any traced value
    profiles: dict[fx.Node, NodeProfile],
    traced: TracedBackbone,
    modules: dict[str, nn.Module],
) -> bool:
    """Whether an activation without MACs follows from integers, and inputs after the first, without weights."""
    if node.op == "placeholder":
        first = next(iter(traced.graph.nodes))
        return node is not first or not value.is_floating_point()
    if node.op == "call_module":
        return next(modules[str(node.target)].parameters(), None) is None and _all_beside(node, profiles)
    return (
        node.op != "output" and _all_beside(node, profiles) and not any(map(_is_weight(traced), node.all_input_nodes))
    )


def _sizes_alone(
    node: fx.Node, run: _Recorder, profiles: dict[fx.Node, NodeProfile], modules: dict[str, nn.Module]
) -> bool:
    """Whether a module without weights gives the same for other values of the activations that it reads."""
    if node.op != "call_module" or run.macs[node] or next(modules[str(node.target)].parameters(), None) is not None:
        return False
    read = [source for source in node.all_input_nodes if profiles[source].alive]
    value = run.values[node]
    same_shape = isinstance(value, Tensor) and any(profiles[source].shape == tuple(value.shape) for source in read)
    if same_shape or not read or any(profiles[s].activation and not profiles[s].alive for s in node.all_input_nodes):
        return False

    if not all(isinstance(run.values[s], Tensor) and run.values[s].is_floating_point() for s in read):
        return False
    module, before = modules[str(node.target)], list(tensors_in(value))
    for seed in range(_DRAWS):

        def other(source: fx.Node, seed: int = seed) -> Any:  # noqa: ANN401 - any traced value
            found = run.values[source]
            if not profiles[source].alive:
                return found
            generator = torch.Generator(found.device).manual_seed(seed)
            return torch.randn(found.shape, generator=generator, dtype=found.dtype, device=found.device)

        args, kwargs = fx.map_arg((node.args, node.kwargs), other)
        with torch.no_grad(), evaluating(module):
            again = list(tensors_in(module(*args, **kwargs)))
        if not before or len(again) != len(before) or not all(map(torch.equal, before, again)):
            return False
    return True


def _all_beside(node: fx.Node, profiles: dict[fx.Node, NodeProfile]) -> bool:
    """Whether all activations that a node reads are beside."""
    return all(profiles[source].beside for source in node.all_input_nodes if profiles[source].activation)


def _is_weight(traced: TracedBackbone) -> Callable[[fx.Node], bool]:
    """Tells nodes that read parameters of a network."""
    parameters = {name for name, _ in traced.backbone.named_parameters(remove_duplicate=False)}
    return lambda node: node.op == "get_attr" and str(node.target) in parameters
