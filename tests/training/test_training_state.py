"""The state a killed run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shallowdeep.errors import CheckpointError
from shallowdeep.training.state import load_state, save_state


def stepped(
    optimizer_type: Callable[..., torch.optim.Optimizer], **options: float
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A convolution in channels_last, and an optimiser that has made one step."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = optimizer_type(module.parameters(), lr=0.1, **options)
    module(torch.randn(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    return module, optimizer


@pytest.mark.parametrize(
    ("kind", "options"), [(torch.optim.SGD, {"momentum": 0.9}), (torch.optim.Adam, {}), (torch.optim.AdamW, {})]
)
def test_a_state_comes_back_bit_for_bit(
    kind: type[torch.optim.Optimizer], options: dict[str, float], tmp_path: Path
) -> None:
    """Weights, statistics, momenta with their memory format, and progress are as they were."""
    module, optimizer = stepped(kind, **options)
    save_state(tmp_path / "state", module, optimizer, {"epoch": 3, "history": [{"loss": 0.5}]})
    other, fresh = stepped(kind, **options)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert load_state(tmp_path / "state", other, fresh) == {"epoch": 3, "history": [{"loss": 0.5}]}
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            again = fresh.state_dict()["state"][index][key]
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(again)), key
            assert torch.as_tensor(value).stride() == torch.as_tensor(again).stride(), key


def test_damaged_and_foreign_states_are_refused(tmp_path: Path) -> None:
    """A truncated file, another's safetensors and another network's state are told apart from ours."""
    module, optimizer = stepped(torch.optim.SGD)
    path = tmp_path / "state"
    save_state(path, module, optimizer, {})
    with pytest.raises(CheckpointError, match="Expected the state of this network"):
        load_state(path, nn.Linear(2, 2))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        load_state(path, module)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        load_state(path, module)
    save_file({"x": torch.zeros(1)}, path, metadata={"state": "[]"})
    with pytest.raises(CheckpointError, match="Expected a training state of format"):
        load_state(path, module)
