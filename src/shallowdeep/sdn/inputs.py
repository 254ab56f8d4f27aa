"""What a classifier is given: one tensor, or several by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from shallowdeep.errors import ConversionError
from shallowdeep.input_spec import ALONE, MASK, RESERVED, InputSpec

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""A batch: a tensor (N, ...), or tensors by the names that a forward gives them, each (N, ...)."""


def by_name(inputs: Inputs) -> dict[str, Tensor]:
    """Return the tensors of a batch by name; a single one is called `ALONE`."""
    return {ALONE: inputs} if isinstance(inputs, Tensor) else dict(inputs)


def like(inputs: Inputs, tensors: Mapping[str, Tensor]) -> Inputs:
    """Return tensors that `by_name` named in the form that the batch had."""
    return tensors[ALONE] if isinstance(inputs, Tensor) else dict(tensors)


def lengthened(inputs: Inputs, more: int, padding: int) -> Inputs | None:
    """Return a batch of token ids with so much padding behind; None where nothing tells padding."""
    length = sequence_length(inputs)
    if length is None or padding_mask(inputs) is None:
        return None
    if isinstance(inputs, Tensor):
        return torch.nn.functional.pad(inputs, (0, more), value=-1)
    first = next(iter(inputs))
    return {
        name: torch.nn.functional.pad(value, (0, more), value=padding if name == first else 0)
        if value.dim() == 2 and value.shape[1] == length  # noqa: PLR2004 - (N, L)
        else value
        for name, value in inputs.items()
    }


def names_in(inputs: Inputs) -> list[str]:
    """Return the names that a network's forward is given a batch by; none for a single tensor."""
    return [] if isinstance(inputs, Tensor) else list(inputs)


def first_of(inputs: Inputs) -> Tensor:
    """Return the tensor that enters the first stage: the only one, or the first by name."""
    return inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))


def moved(inputs: Inputs, device: torch.device | str) -> Inputs:
    """Return a batch on a device."""
    return like(inputs, {name: value.to(device) for name, value in by_name(inputs).items()})


def run_on(network: nn.Module, inputs: Inputs) -> Any:  # noqa: ANN401 - whatever a network returns
    """Return what a network returns for a batch."""
    return network(inputs) if isinstance(inputs, Tensor) else network(**inputs)


def repeated(inputs: Inputs, times: int) -> Inputs:
    """Return a batch of the first sample alone, so many times."""
    return like(inputs, {k: v[:1].repeat(times, *[1] * (v.dim() - 1)) for k, v in by_name(inputs).items()})


def ordered(network: nn.Module, inputs: Inputs) -> Inputs:
    """Return several inputs in the order in which a network's forward names them: the first enters the first stage.

    Raises:
        ConversionError: none, one that is no tensor of samples, or a name that the forward does not know or lacks.
    """
    if isinstance(inputs, Tensor):
        return inputs
    name = type(network).__name__
    given = dict(inputs)
    wrong = next((key for key, value in given.items() if not isinstance(value, Tensor) or not value.dim()), None)
    if not given or wrong is not None:
        what = "none" if wrong is None else f"{type(given[wrong]).__name__} for {wrong}"
        raise ConversionError(f"Expected tensors (N, ...) by name for {name}, got {what}")
    parameters = inspect.signature(network.forward).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = sorted(RESERVED.intersection(given) if len(given) > 1 else ())
    if taken:
        raise ConversionError(
            f"Expected other names of inputs than {', '.join(sorted(RESERVED))}, which parts of networks use, got "
            f"{taken[0]!r}; wrap {name} in a module that renames it"
        )
    unknown = [key for key in given if key not in parameters and not takes_any]
    if unknown:
        raise ConversionError(
            f"Expected inputs that {name}.forward takes ({', '.join(parameters)}), got {', '.join(unknown)}"
        )
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        and key not in given
    ]
    if missing:
        raise ConversionError(f"Expected an input {missing[0]!r} for {name}, got {', '.join(given)} alone")
    known = [key for key in parameters if key in given]
    return {key: given[key] for key in [*known, *(key for key in given if key not in known)]}


def sequence_length(inputs: Inputs) -> int | None:
    """Return L where a batch is of token ids (N, L), which may have any length; else None."""
    main = first_of(inputs)
    return main.shape[1] if main.dim() == 2 and not main.is_floating_point() else None  # noqa: PLR2004 - (N, L)


def shortened(inputs: Inputs, length: int) -> Inputs:
    """Return a batch of token ids, and whatever is as long, cut to a length."""
    whole = sequence_length(inputs)

    def cut(tensor: Tensor) -> Tensor:
        for axis in range(1, tensor.dim()):
            if tensor.shape[axis] == whole:
                tensor = tensor.narrow(axis, 0, length)
        return tensor

    return like(inputs, {key: cut(value) for key, value in by_name(inputs).items()})


def padding_mask(inputs: Inputs) -> Tensor | None:
    """Return (N, L) bool, which tokens are no padding; None where nothing tells.

    Token ids that come alone are negative where they are padding; beside others the input `MASK` tells.
    """
    if isinstance(inputs, Tensor):
        return None if sequence_length(inputs) is None else inputs >= 0
    mask = inputs.get(MASK)
    return mask.bool() if mask is not None and mask.dim() == 2 else None  # noqa: PLR2004 - (N, L)


def random_like(example: Inputs, count: int, ids: int = 0) -> Inputs:
    """Return a batch of different samples of an example's shapes: normal numbers, or integers within its range.

    Masks are the example's. Seeded, the same every time.

    Args:
        example: (N, ...); of integers the first sample's least and largest are kept to.
        count: of samples.
        ids: how many integers there are at least, whatever the example has.
    """
    found: dict[str, Tensor] = {}
    for name, value in by_name(example).items():
        generator = torch.Generator(value.device).manual_seed(0)
        size = (count, *value.shape[1:])
        if value.is_floating_point():
            found[name] = torch.randn(size, generator=generator, device=value.device, dtype=value.dtype)
        elif name == MASK or value.dtype == torch.bool:
            found[name] = value[:1].expand(size)
        else:
            low, high = max(int(value[:1].min()), 0), max(int(value[:1].max()), ids - 1, 0)
            low = 0 if high == ids - 1 else low
            drawn = torch.randint(low, high + 1, size, generator=generator, device=value.device)
            found[name] = drawn.to(value.dtype)
    return like(example, found)


def specs_of(inputs: Inputs) -> tuple[InputSpec, ...]:
    """Return what each input of a batch is."""
    return tuple(
        InputSpec(name, tuple(value.shape[1:]), str(value.dtype).removeprefix("torch."))
        for name, value in by_name(inputs).items()
    )


def example_of(specs: Sequence[InputSpec], count: int, device: torch.device | str = "cpu") -> Inputs:
    """Return a batch that a network takes: zeros, and ones for masks.

    Args:
        specs: of the network's inputs.
        count: of samples.
        device: of the tensors.

    Raises:
        ConversionError: a dtype that torch has not.
    """
    found = {
        spec.name: torch.full(
            (count, *spec.shape), int(spec.name == MASK or spec.dtype == "bool"), dtype=_dtype_of(spec), device=device
        )
        for spec in specs
    }
    return found[ALONE] if list(found) == [ALONE] else found


def _dtype_of(spec: InputSpec) -> torch.dtype:
    found = getattr(torch, spec.dtype, None)
    if not isinstance(found, torch.dtype):
        raise ConversionError(f"Expected a dtype of torch for the input {spec.name}, got {spec.dtype!r}")
    return found
