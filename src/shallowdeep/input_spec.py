"""What a network takes: names, shapes and types of its inputs (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ALONE = "images"
"""What a single tensor is called in traced graphs."""

MASK = "attention_mask"
"""The input (N, L) that tells tokens, by 1, from padding."""

FLOAT32 = "float32"
RESERVED = {"x", "self", "features", "previous", "logits", "tokens"}
"""Names that stages and segments have for what passes between them."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a network, as manifests have it.

    Attributes:
        name: that forward gives it; `ALONE` for a single tensor.
        shape: of one sample; of texts, which may be longer or shorter, that of the example.
        dtype: as torch and NumPy name it, such as ``float32``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def tokens(self) -> bool:
        """Whether it is token ids (L,), of which there may be any number."""
        return len(self.shape) == 1 and "int" in self.dtype


def images_spec(shape: Sequence[int]) -> InputSpec:
    """Return the input of a network of images (C, H, W) alone."""
    return InputSpec(ALONE, tuple(shape), FLOAT32)


def inputs_document(inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Return what a manifest says of inputs: nothing of those that are images alone, whose shape it has."""
    alone = len(inputs) == 1 and inputs[0] == images_spec(inputs[0].shape)
    return {} if alone or not inputs else {"inputs": [asdict(spec) for spec in inputs]}


def inputs_from(document: Mapping[str, Any], shape: Sequence[int]) -> tuple[InputSpec, ...]:
    """Return the inputs that a manifest describes; images of a shape where it does not say otherwise.

    Raises:
        KeyError: something is missing.
        TypeError: likewise.
        ValueError: a size that is no number.
    """
    if "inputs" not in document:
        return (images_spec(shape),)
    return tuple(
        InputSpec(str(spec["name"]), tuple(int(side) for side in spec["shape"]), str(spec["dtype"]))
        for spec in document["inputs"]
    )


def takes_tokens(inputs: Sequence[InputSpec]) -> bool:
    """Whether a network takes token ids alone."""
    return len(inputs) == 1 and inputs[0].name == ALONE and inputs[0].tokens
