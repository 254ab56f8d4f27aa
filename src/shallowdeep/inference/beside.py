"""What segments read of a network's inputs besides the features that pass from one to the next."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from shallowdeep.inference.segments import Segment
from shallowdeep.input_spec import ALONE, MASK
from shallowdeep.sdn.inputs import example_of, padding_mask, sequence_length
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import ShallowDeepNetwork


def names_of(network: ShallowDeepNetwork) -> list[str]:
    """Names by which a network takes its inputs; none where it takes a single tensor."""
    names = [spec.name for spec in network.inputs]
    return [] if names == [ALONE] else names


def network_length(network: ShallowDeepNetwork) -> int | None:
    """Return the tokens of a network's example, where it takes texts of any length; else None."""
    return sequence_length(example_of(network.inputs, 1)) if network.inputs else None


def masked(head: nn.Module | None, inputs: Mapping[str, Tensor], *, named: bool) -> Tensor | None:
    """Which tokens are no padding, where a head asks: those of inputs by name, or of token ids that come alone."""
    if not isinstance(head, InternalClassifier) or not head.reads_mask:
        return None
    return padding_mask(inputs if named else inputs[ALONE]) if named or ALONE in inputs else None


def read_beside(network: ShallowDeepNetwork, segment: Segment) -> tuple[str, ...]:
    """Names of a network's inputs that a segment reads besides what passes from the one before, in their order."""
    wanted = {name for stage in network.stages[segment.first : segment.last + 1] for name in stage.beside}
    if segment.exit < len(network.exits) - 1:
        head = network.internal_classifiers[segment.exit]
        if isinstance(head, InternalClassifier) and head.reads_mask:
            wanted |= {
                spec.name for spec in network.inputs if spec.name == MASK or (spec.name == ALONE and spec.tokens)
            }
    entry = {network.inputs[0].name} if network.inputs and not segment.first else set()
    return tuple(spec.name for spec in network.inputs if spec.name in wanted - entry)
