"""Weights: read from a file without running code, and put into a network whole or not at all."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shallowdeep.errors import ModelError, WeightsMismatchError, one_line

TORCH_SUFFIXES = frozenset({".pth", ".pt"})
WRAPPING_KEYS = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the weights inside what they save."""

WRAPPING_PREFIX = "module."
"""What DataParallel and DistributedDataParallel put before every name."""

NAMES_TOLD = 3


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors in a weights file, on the CPU.

    A `.safetensors` file is taken as it is. A `.pth` or `.pt` file is read with `weights_only=True`, so that no code in
    it runs; weights inside `{"state_dict": ...}` or `{"model": ...}` are taken out, and a prefix `module.` that every
    name has is taken off.

    Args:
        path: the file.

    Returns:
        Name to tensor, in the file's order and dtypes.

    Raises:
        ModelError: no such file, another kind of file, a damaged one, one that `weights_only` refuses, or one that
            holds something else than tensors.
    """
    path = Path(path)
    if path.suffix not in {".safetensors", *TORCH_SUFFIXES}:
        raise ModelError(f"Expected a .safetensors, .pth or .pt file, got {str(path)!r}")
    if not path.is_file():
        raise ModelError(f"Expected a weights file, got {str(path)!r}, which does not exist")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"Expected {str(path)!r} to be a safetensors file, got {one_line(error)}") from error
    return _state_dict(_load_torch(path), path)


def load_weights(module: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Copies weights into a network, all of them or none.

    Args:
        module: changed in place; keeps its dtypes and devices, so half-precision files load into a float32 network.
        state_dict: a tensor of the right shape for every parameter and buffer of the network, and nothing else.
        source: where the weights are from, for the message.

    Raises:
        WeightsMismatchError: names that are missing or too many, other shapes, or integers for floats or the reverse;
            the first few are named. The network is then as before.
    """
    expected: dict[str, Tensor] = module.state_dict()
    missing = [name for name in expected if name not in state_dict]
    unexpected = [name for name in state_dict if name not in expected]
    different = [
        f"{name}: expected {_form(tensor, state_dict[name])}, got {_form(state_dict[name], tensor)}"
        for name, tensor in expected.items()
        if name in state_dict and not _fits(tensor, state_dict[name])
    ]
    found = [
        f"{kind} {_first(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("different", different))
        if names
    ]
    if found:
        raise WeightsMismatchError(
            f"Expected weights of {type(module).__name__} in {source}, got a mismatch: {'; '.join(found)}"
        )
    module.load_state_dict(dict(state_dict))


def _load_torch(path: Path) -> object:
    """Returns what a `.pth` file holds, as far as it can be read without running code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: the file is read or refused either way
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"Expected {str(path)!r} to hold tensors only, but weights_only=True refused it ({_refusal(error)}); "
            "if you trust the file, save its state_dict again as .safetensors"
        ) from error
    except Exception as error:
        raise ModelError(f"Expected {str(path)!r} to be a PyTorch file, got {one_line(error)}") from error
    return content


def _refusal(error: Exception) -> str:
    """Returns the sentence of PyTorch's long message that names what was refused."""
    lines = str(error).splitlines()
    named = [line.strip() for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or [type(error).__name__])[0].split(". ")[0].removeprefix("WeightsUnpickler error: ")


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """Returns the tensors in what a `.pth` file holds, unwrapped."""
    for key in WRAPPING_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"Expected {str(path)!r} to hold named tensors, got {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelError(
                f"Expected {str(path)!r} to hold named tensors, got {type(tensor).__name__} under {name!r}"
            )
    if all(name.startswith(WRAPPING_PREFIX) for name in content):
        return {name.removeprefix(WRAPPING_PREFIX): tensor for name, tensor in content.items()}
    return dict(content)


def _fits(expected: Tensor, got: Tensor) -> bool:
    """Whether one tensor can be copied into another without losing what it means."""
    return expected.shape == got.shape and expected.is_floating_point() == got.is_floating_point()


def _form(tensor: Tensor, other: Tensor) -> str:
    """Returns a tensor's shape, or its dtype where the shapes agree."""
    return str(tensor.dtype).removeprefix("torch.") if tensor.shape == other.shape else str(tuple(tensor.shape))


def _first(names: Sequence[str]) -> str:
    """Returns the first few names, and how many more there are."""
    more = len(names) - NAMES_TOLD
    return ", ".join(names[:NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
