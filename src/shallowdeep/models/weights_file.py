"""Weights in the files that people save them in, read without running code."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from shallowdeep.errors import ModelError, one_line

SAFETENSORS = ".safetensors"
TORCH_SUFFIXES = (".pth", ".pt", ".pth.tar", ".tar", ".ckpt", ".bin", ".th")
WRAPPING_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "backbone", "weights"),
    *("params", "ema", "model_ema", "ema_state_dict", "state_dict_ema"),
)
"""Where training scripts put the weights inside what they save; averaged ones last."""

EXTRA_STATE = "_extra_state"
"""What torch calls the state of a module that is no parameter and no buffer."""

_SCALAR = np.float64(0).__reduce__()[0]  # NumPy's constructor of scalars: best accuracies are some
_HARMLESS: list[Any] = [
    argparse.Namespace,  # the settings of a training, beside its weights
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """Returns the tensors in a weights file, on the CPU, under the names in the file.

    A file of PyTorch (`.pth`, `.pt`, `.pth.tar`, `.ckpt`, `.bin`, in any case) is read with `weights_only=True`, so
    that no code in it runs; weights inside `{"state_dict": ...}`, `{"model": ...}` and the like are taken out.

    Args:
        path: the file.

    Returns:
        Name to tensor, in the file's order and dtypes; the extra state of a module may be something else.

    Raises:
        ModelError: no such file, another kind of file, a damaged one, one that `weights_only` refuses, or one that
            holds something else than tensors.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith((SAFETENSORS, *TORCH_SUFFIXES)):
        raise ModelError(
            f"Expected a file of weights ({', '.join((SAFETENSORS, *TORCH_SUFFIXES[:5]))} or .bin), got {str(path)!r}"
        )
    if not path.is_file():
        raise ModelError(f"Expected a weights file, got {str(path)!r}, which does not exist")
    if name.endswith(SAFETENSORS):
        try:
            return _with_aliases(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"Expected {str(path)!r} to be a safetensors file, got {one_line(error)}") from error
    return _named_tensors(_unwrapped(_load_torch(path)), path)


def _with_aliases(path: Path) -> dict[str, Any]:
    """Returns a safetensors file's tensors, those too that `safetensors.torch.save_model` left out as equal to one."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        aliases = file.metadata() or {}
    return tensors | {name: tensors[kept] for name, kept in aliases.items() if kept in tensors and name not in tensors}


def _load_torch(path: Path) -> object:
    """Returns what a file of PyTorch holds, as far as it can be read without running code."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
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


def _unwrapped(content: object) -> object:
    """Returns the innermost table of tensors: under a usual key, or under the only key that holds one."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        tables = {key: value for key, value in content.items() if _holds_tensors(value)}
        key = next((key for key in WRAPPING_KEYS if key in tables), None)
        if key is None and len(tables) == 1:
            key = next(iter(tables))
        if key is None:
            break
        content = tables[key]
    return content


def _holds_tensors(value: object) -> bool:
    """Whether named tensors are in a value, at any depth: optimisers number theirs."""
    return isinstance(value, Mapping) and any(
        isinstance(key, str) and (isinstance(item, Tensor) or _holds_tensors(item)) for key, item in value.items()
    )


def _named_tensors(content: object, path: Path) -> dict[str, Any]:
    """Returns the table of tensors in a file, once it is known to be one."""
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"Expected {str(path)!r} to hold named tensors, got {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not (isinstance(tensor, Tensor) or name.endswith(EXTRA_STATE)):
            raise ModelError(
                f"Expected {str(path)!r} to hold named tensors, got {type(tensor).__name__} under {name!r}"
            )
    return dict(content)
