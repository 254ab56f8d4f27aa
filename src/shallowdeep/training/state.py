"""The state a killed run goes on from: one file, whole or not at all.

Weights and the optimiser's tensors are safetensors; the epoch and the optimiser's numbers stand in the same file's
metadata as JSON, so that no moment exists at which the two could disagree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from shallowdeep.errors import CheckpointError
from shallowdeep.files import replacing
from shallowdeep.sdn.saving import extra_state, write_tensors

FORMAT = "shallowdeep-training-state-2"  # 1 is of other optimisers and crops by default


def save_state(path: Path, module: nn.Module, optimizer: Optimizer, progress: dict[str, Any]) -> None:
    """Replace ``path`` by the state of ``module`` and ``optimizer`` and the JSON-able ``progress``.

    Raises:
        OutputError: the disk is full or cannot be written; the old state stays.
    """
    values = module.state_dict()
    tensors = {
        f"module/{n}": value.detach().cpu().contiguous() for n, value in values.items() if isinstance(value, Tensor)
    }
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value.detach().cpu().contiguous()
            else:
                numbers.setdefault(str(index), {})[key] = value
    shared: dict[int, Tensor] = {}
    for name, value in tensors.items():  # safetensors refuses two names for one piece of memory
        tensors[name] = value.clone() if value.data_ptr() in shared else shared.setdefault(value.data_ptr(), value)
    document = {"format": FORMAT, "progress": progress, "numbers": numbers, "extra": extra_state(values)}
    with replacing(path) as temporary:
        write_tensors(tensors, temporary, metadata={"state": json.dumps(document)})


def load_state(path: Path, module: nn.Module, optimizer: Optimizer | None = None) -> dict[str, Any]:
    """Put the saved state into ``module`` and, where given, ``optimizer``; returns the ``progress`` saved with it.

    Raises:
        CheckpointError: the file is damaged, foreign, or of another network.
    """
    document, tensors = _read(path)
    progress: dict[str, Any] = document["progress"]
    numbers: dict[str, dict[str, Any]] = document["numbers"]
    weights: dict[str, Any] = {
        name.removeprefix("module/"): t for name, t in tensors.items() if name.startswith("module/")
    }
    weights |= document.get("extra", {})
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"Expected the state of this network in {path}, got another's: {first}") from error
    if optimizer is None:
        return progress
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in numbers.items()}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """``value`` in the memory format of its parameter, as it was before: sums in another order round otherwise."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {})["state"])
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"Expected a training state in {path}, got a damaged or foreign file: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"Expected a training state of format {FORMAT} in {path}, got another document")
    return document, values
