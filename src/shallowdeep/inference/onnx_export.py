"""Segments of a network as ONNX files."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.artifacts import STATIC_MODEL
from shallowdeep.errors import ConversionError, innermost, one_line
from shallowdeep.inference.backends.backend import PREVIOUS, TOKENS, Written
from shallowdeep.inference.beside import masked, names_of, network_length, read_beside
from shallowdeep.inference.runtime_record import RuntimeRecord
from shallowdeep.inference.segments import Segment
from shallowdeep.input_spec import ALONE
from shallowdeep.progress import Bar
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.feature_reduction import ConvReduction, PooledReduction
from shallowdeep.sdn.inputs import Inputs, by_name, example_of
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.logits import LogitsModule
from shallowdeep.sdn.network import ShallowDeepNetwork

_INPUT, _BLOCKED = "x", "x_in_blocks"
_MAP_AXES = 4  # (n, C, H, W)
_EXAMPLES = 2  # images in the example batch: one would be taken for a constant


class PooledHead(nn.Module):
    """An internal classifier on pooled maps as one matrix product: the mixture ``a`` goes into the weights.

    ``W·(a·max + (1-a)·avg) + b = [a·W, (1-a)·W]·[max, avg] + b``: six operations instead of twelve, which at batch 1
    costs as much as a few convolutions. Equal to the classifier but for rounding.

    Args:
        classifier: with a `PooledReduction` that pools, or with convolutions before one.
        reduction: that pooling.
        convolutions: what comes before it; None for nothing.
    """

    def __init__(
        self, classifier: InternalClassifier, reduction: PooledReduction, convolutions: ConvReduction | None = None
    ) -> None:
        super().__init__()
        self.convolutions = convolutions
        mix = reduction.mix if reduction.mix is not None else torch.ones(())
        weight = classifier.linear.weight.detach()
        self.reduction = reduction
        self.linear = nn.Linear(2 * reduction.features, weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat([mix * weight, (1 - mix) * weight], dim=1))
            self.linear.bias.copy_(classifier.linear.bias)
        self.cascade = classifier.cascade

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits (N, C)."""
        if self.convolutions is not None:
            x = self.convolutions.convolved(self.convolutions.summarise(x))
        elif self.reduction.channels_last:
            x = x.permute(0, 3, 1, 2)
        largest = F.max_pool2d(x, self.reduction.kernel, self.reduction.stride)
        mean = F.avg_pool2d(x, self.reduction.kernel, self.reduction.stride)
        logits: Tensor = self.linear(torch.cat([largest, mean], dim=1).flatten(1))
        if self.cascade is None or previous is None:  # `SegmentModule` hands them to cascaded ones
            return logits
        share: Tensor = self.cascade(F.layer_norm(previous, previous.shape[-1:]))
        return logits + share


class SegmentModule(nn.Module):
    """One segment as a module: (n, ...), logits (n, C) of the exit before where its head is cascaded, other inputs.

    It returns (features, logits), or logits alone for the last exit.

    Attributes:
        cascaded: whether it takes logits of the exit before.
        beside: names of the network's inputs that it takes after these.
    """

    def __init__(self, network: ShallowDeepNetwork, segment: Segment) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.stages = network.stages[segment.first : segment.last + 1]
        final = segment.exit == len(network.exits) - 1
        self.head = None if final else inference_head(network.internal_classifiers[segment.exit])
        self.cascaded = bool(segment.first) and network.exits[segment.exit].cascaded
        self.beside = read_beside(network, segment)
        self._entry = network.inputs[0].name if network.inputs else ALONE
        self._first, self._named = segment.first == 0, bool(names_of(network))

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Run the stages, and the exit's head."""
        previous = others[0] if self.cascaded else None
        inputs = dict(zip(self.beside, others[self.cascaded :], strict=True))
        if self._first:
            inputs[self._entry] = x
        mask = masked(self.head, inputs, named=self._named)
        for stage in self.stages:
            x = stage(self.backbone, x, inputs)
        if self.head is None:
            return x
        return (x, self.head(x, previous)) if mask is None else (x, self.head(x, previous, mask))


def inference_head(classifier: nn.Module) -> nn.Module:
    """The cheapest module that computes an internal classifier's logits."""
    reduction = getattr(classifier, "reduction", None)
    if not isinstance(classifier, InternalClassifier):
        return classifier
    if isinstance(reduction, PooledReduction) and reduction.pools:
        return PooledHead(classifier, reduction)
    if isinstance(reduction, ConvReduction) and reduction.pooling.pools:
        return PooledHead(classifier, reduction.pooling, reduction)
    return classifier


class OnnxExporter:
    """Writes ``segment-NUMBER.onnx`` for each segment, and the static backbone.

    Args:
        network: on the CPU.
    """

    def __init__(self, network: ShallowDeepNetwork) -> None:
        self._network = network
        self.uncut: Callable[[Any], Any] | None = None

    def write(self, segments: Sequence[Segment], directory: Path, *, static: bool, bar: Bar) -> Written:
        """Write one bundle's files.

        Raises:
            ConversionError: the exporter cannot write a segment; names it.
        """
        files = export_segments(self._network, segments, directory, bar)
        record = RuntimeRecord("onnxruntime", onnxruntime.__version__)
        if not static:
            return Written(files, None, runtime=record)
        written = export_static(self._network, directory)
        bar.advance(1, written)
        return Written(files, written, runtime=record)


def export_segments(
    network: ShallowDeepNetwork, segments: Sequence[Segment], directory: Path, bar: Bar
) -> tuple[str, ...]:
    """Write ``segment-NUMBER.onnx`` for each segment; returns the names.

    Args:
        network: on the CPU.
        segments: from `plan_segments`.
        directory: exists.
        bar: advanced by one for each.

    Raises:
        ConversionError: the exporter cannot write a segment; names it.
    """
    names = []
    with evaluating(network), torch.no_grad():
        batch = by_name(example_inputs(network))
        x, previous = next(iter(batch.values())), None
        for number, segment in enumerate(segments):
            module = SegmentModule(network, segment).eval()
            inputs = {_INPUT: x}
            if module.cascaded and previous is not None:
                inputs[PREVIOUS] = previous
            inputs |= {beside_name(name): batch[name] for name in module.beside}
            outputs = module(*inputs.values())
            names.append(f"segment-{number}.onnx")
            both = isinstance(outputs, tuple)
            lengths = network_length(network)
            export_module(
                module, inputs, directory / names[-1], ["features", "logits"] if both else ["logits"], lengths
            )
            if number:
                keep_maps_blocked(directory / names[-1])
            bar.advance(1, names[-1])
            x, previous = outputs if isinstance(outputs, tuple) else (outputs, None)
    return tuple(names)


def keep_maps_blocked(path: Path) -> bool:
    """Put a pooling of 1x1 pixels, which changes nothing, before a segment that begins inside a residual network.

    ONNX Runtime convolves maps in blocks of channels. A map that comes from outside is not in blocks, and where it is
    added to a convolution's output, as a shortcut is, neither is the sum, nor any later sum: each convolution of the
    segment then has its maps rearranged twice, and fuses with nothing. Pooling is done in blocks, so its output is. (On
    ResNet-56 with all exits this halves what the exits cost.)

    Args:
        path: an ONNX file with the input ``x``; changed in place.

    Returns:
        Whether it was changed: ``x`` is a map (n, C, H, W) that a convolution and something else read.
    """
    model = onnx.load(path)
    graph = model.graph
    readers = [node for node in graph.node if _INPUT in node.input]
    is_map = len(graph.input[0].type.tensor_type.shape.dim) == _MAP_AXES
    if not is_map or len(readers) < 2 or not any(node.op_type == "Conv" for node in readers):  # noqa: PLR2004
        return False
    for node in readers:
        node.input[:] = [_BLOCKED if name == _INPUT else name for name in node.input]
    pooling = onnx.helper.make_node("MaxPool", [_INPUT], [_BLOCKED], kernel_shape=[1, 1], strides=[1, 1])
    graph.node.insert(0, pooling)
    onnx.save(model, path)
    return True


def export_static(network: ShallowDeepNetwork, directory: Path) -> str:
    """Write the unmodified backbone; returns the file's name."""
    with evaluating(network), torch.no_grad():
        module = LogitsModule(network.backbone, names_of(network))
        export_module(module, static_inputs(network), directory / STATIC_MODEL, ["logits"], network_length(network))
    return STATIC_MODEL


def static_inputs(network: ShallowDeepNetwork) -> dict[str, Tensor]:
    """Return the inputs of a network's unmodified backbone, by the names that files give them: the first is ``x``."""
    first, *others = by_name(example_inputs(network)).items()
    return {_INPUT: first[1], **{beside_name(name): value for name, value in others}}


def example_inputs(network: ShallowDeepNetwork) -> Inputs:
    """Return a batch of zeros, and of ones for masks, that a network takes.

    Raises:
        ConversionError: the network does not know its inputs.
    """
    if not network.inputs:
        raise ConversionError("Expected a network that knows its input_shape, got None; set it first")
    return example_of(network.inputs, _EXAMPLES)


def beside_name(name: str) -> str:
    """Return what files call an input that travels beside the features."""
    return TOKENS if name == ALONE else name


def export_module(
    module: nn.Module, examples: Mapping[str, Tensor], path: Path, outputs: list[str], length: int | None = None
) -> None:
    """Write one module as ONNX, for a batch of any size and, of token ids, any length.

    Args:
        module: takes the examples in turn.
        examples: by the names of the file's inputs.
        path: of the file.
        outputs: their names.
        length: tokens of the examples; None where sizes are fixed.

    Raises:
        ConversionError: the exporter cannot write it.
    """
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("length", min=2)

    def sizes(name: str, example: Tensor) -> dict[int, Any]:
        if length is None or name == PREVIOUS:
            return {0: batch}
        return {0: batch, 1: tokens} if example.dim() > 1 and example.shape[1] == length else {0: batch}

    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about its own calls
            torch.onnx.export(
                module, tuple(example.contiguous() for example in examples.values()), path,
                input_names=list(examples), output_names=outputs, dynamo=True,
                dynamic_shapes=_as_taken(module, [sizes(*item) for item in examples.items()]),
                external_data=False, verbose=False,
            )  # fmt: skip
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConversionError(
            f"Expected {path.name} to be exported to ONNX, got {one_line(innermost(error))}"
        ) from error
    finally:
        chatter.setLevel(level)


def _as_taken(module: nn.Module, sizes: list[dict[int, Any]]) -> tuple[Any, ...]:
    """Dynamic sizes as a module's forward takes its inputs: those that it takes as ``*others`` in a tuple."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    named = sum(parameter.kind is not parameter.VAR_POSITIONAL for parameter in parameters)
    return tuple(sizes) if len(sizes) <= named else (*sizes[:named], tuple(sizes[named:]))
