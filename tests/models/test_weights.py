"""Weights from files, whole or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shallowdeep.errors import ModelError, WeightsMismatchError
from shallowdeep.models.weights import load_weights, read_state_dict


class Foreign:
    """Something that is not a tensor."""


def network() -> nn.Sequential:
    """Returns a tiny network with a BatchNorm, whose buffers hold an integer."""
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """Returns a module's tensors, copied."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same tensors."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.pt"])
def test_weights_survive_the_file(name: str, tmp_path: Path) -> None:
    """What was written is read and loaded, names, dtypes and values."""
    saved = copy_of(network())
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(saved, path)
    else:
        torch.save(saved, path)
    read = read_state_dict(path)
    assert equal(read, saved)
    fresh = network()
    load_weights(fresh, read, str(path))
    assert equal(copy_of(fresh), saved)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_training_scripts_wrappings_are_taken_off(key: str, tmp_path: Path) -> None:
    """Weights inside a checkpoint of a data-parallel training are found."""
    saved = copy_of(network())
    torch.save({"epoch": 3, key: {f"module.{name}": t for name, t in saved.items()}}, tmp_path / "w.pth")
    assert equal(read_state_dict(tmp_path / "w.pth"), saved)


def test_a_prefix_that_not_all_names_have_stays(tmp_path: Path) -> None:
    """A network may have a child called `module`."""
    saved = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    torch.save(saved, tmp_path / "w.pth")
    assert list(read_state_dict(tmp_path / "w.pth")) == list(saved)


def test_pickled_objects_are_refused_without_running(tmp_path: Path) -> None:
    """A file with code in it is named, with what was refused and the way out."""
    torch.save({"state_dict": {"a": Foreign()}}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"weights_only=True refused it \(.*Foreign.*\.safetensors") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.pth", b""),
        ("w.pth", b"garbage"),
        ("w.pth", pickle.dumps({"a": print})),
        ("w.safetensors", b"garbage"),
        ("w.onnx", b"garbage"),
    ],
)
def test_files_that_are_not_weights_are_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    """Damaged files and files of another kind are named."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=name) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    """Half a file is no file."""
    path = tmp_path / "w.pth"
    torch.save(copy_of(network()), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"w\.pth") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(ModelError, match=r"absent\.pth.*does not exist"):
        read_state_dict(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}, {}, {"a": torch.ones(1), "epoch": 3}])
def test_a_file_of_other_things_is_told(content: object, tmp_path: Path) -> None:
    """Only a mapping from names to tensors is a state dict."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="to hold named tensors, got"):
        read_state_dict(tmp_path / "w.pth")


def test_half_precision_weights_load_into_single_precision() -> None:
    """The network keeps its own dtype; the integer buffer stays an integer."""
    saved = network().half()
    fresh = network()
    load_weights(fresh, saved.state_dict(), "a test")
    assert fresh[0].weight.dtype == torch.float32
    assert torch.equal(fresh.get_parameter("0.weight"), saved.get_parameter("0.weight").float())
    assert fresh[1].num_batches_tracked.dtype == torch.int64


def test_a_mismatch_names_the_first_that_differ_and_loads_nothing() -> None:
    """Missing, unexpected and differently shaped tensors are told in one line, and no tensor is copied."""
    fresh = network()
    before = copy_of(fresh)
    given = copy_of(network())
    del given["0.bias"]
    given |= {f"extra{index}": torch.ones(1) for index in range(5)}
    given["2.weight"] = torch.ones(7, 4)
    with pytest.raises(WeightsMismatchError) as caught:
        load_weights(fresh, given, "file.pth")
    assert str(caught.value) == (
        "Expected weights of Sequential in file.pth, got a mismatch: missing 0.bias; "
        "unexpected extra0, extra1, extra2 and 2 more; different 2.weight: expected (2, 4), got (7, 4)"
    )
    assert equal(copy_of(fresh), before)


def test_integers_do_not_load_as_weights() -> None:
    """Quantised weights of the right shape are not silently cast."""
    given = copy_of(network())
    given["0.bias"] = torch.ones(4, dtype=torch.int8)
    with pytest.raises(WeightsMismatchError, match=r"0\.bias: expected float32, got int8"):
        load_weights(network(), given, "file.pth")
