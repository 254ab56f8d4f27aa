"""Weights from files, whole or not at all."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from shallowdeep.errors import ModelError, WeightsMismatchError
from shallowdeep.models.weights import last_layer, load_weights, match_weights, read_state_dict


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


@pytest.mark.parametrize("key", ["state_dict", "model", "net", "ema", "anything_else"])
def test_weights_inside_what_a_training_saves_are_found(key: str, tmp_path: Path) -> None:
    """A usual key is taken, or the only one that holds named tensors; optimisers number theirs."""
    saved = copy_of(network())
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1, momentum=0.9).state_dict()
    settings = argparse.Namespace(lr=0.1, best=np.float64(93.1))
    content = {"epoch": 3, key: saved, "optimizer": optimizer, "args": settings, "best": np.float32(1)}
    torch.save(content, tmp_path / "w.pth")
    assert equal(read_state_dict(tmp_path / "w.pth"), saved)


def test_weights_come_before_their_average(tmp_path: Path) -> None:
    """Where a file holds both, the averaged ones stay."""
    saved = copy_of(network())
    torch.save({"ema": copy_of(network()), "state_dict": {"model": saved}}, tmp_path / "w.pth")
    assert equal(read_state_dict(tmp_path / "w.pth"), saved)


@pytest.mark.parametrize("name", ["model_best.pth.tar", "last.ckpt", "pytorch_model.bin", "W.PT", "W.SAFETENSORS"])
def test_weights_have_many_file_names(name: str, tmp_path: Path) -> None:
    """What people call such files, in any case."""
    saved = copy_of(network())
    (save_file if name.endswith("SAFETENSORS") else torch.save)(saved, tmp_path / name)
    assert equal(read_state_dict(tmp_path / name), saved)


@pytest.mark.parametrize(
    ("prefixes", "told"),
    [
        (("module.",), "module."),
        (("_orig_mod.",), "_orig_mod."),
        (("model.",), "model."),
        (("backbone.",), "backbone."),
        (("net.encoder.",), "net.encoder."),
        (("module.", "_orig_mod.", "model."), "_orig_mod., module., model."),
        (("model.", "_orig_mod."), "_orig_mod., model."),
    ],
)
def test_what_wrappers_add_to_names_is_taken_off(prefixes: tuple[str, ...], told: str) -> None:
    """In any order, and told."""
    saved, fresh = copy_of(network()), network()
    loaded = load_weights(fresh, {"".join(prefixes) + name: t for name, t in saved.items()}, "a test")
    assert equal(copy_of(fresh), saved)
    assert str(loaded) == f"taken off: {told}"


def test_wrappers_in_the_middle_of_names_are_taken_off() -> None:
    """The features of VGG in DataParallel, its head not, as PyTorch's ImageNet example saves it."""
    saved, fresh = copy_of(network()), network()
    names = {name: f"0.module.{name[2:]}" if name.startswith("0.") else name for name in saved}
    load_weights(fresh, {names[name]: tensor for name, tensor in saved.items()}, "a test")
    assert equal(copy_of(fresh), saved)


def test_a_network_may_have_a_child_called_module() -> None:
    """Then its names stay."""

    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    saved, fresh = copy_of(Wrapping()), Wrapping()
    assert str(load_weights(fresh, saved, "a test")) == ""
    assert equal(copy_of(fresh), saved)


def test_names_outside_the_prefix_are_told() -> None:
    """The weights of a loss beside those of the network, as Lightning saves them."""
    saved, fresh = copy_of(network()), network()
    given = {"criterion.weight": torch.ones(2), "n_averaged": torch.tensor(3)}
    loaded = load_weights(fresh, given | {f"model.{name}": t for name, t in saved.items()}, "a test")
    assert (loaded.stripped, loaded.ignored) == (("model.",), ("criterion.weight",))


def test_a_prefix_does_not_hide_what_is_missing() -> None:
    """Weights of a trunk alone are no weights of the network."""
    given = {f"model.{name}": t for name, t in copy_of(network()).items() if not name.startswith("2.")}
    with pytest.raises(WeightsMismatchError, match=r"missing 2\.weight, 2\.bias$"):
        load_weights(network(), given, "a test")


def test_counters_of_batches_may_be_missing() -> None:
    """Older files have none, and torch takes them so."""
    saved, fresh = copy_of(network()), network()
    del saved["1.num_batches_tracked"]
    assert str(load_weights(fresh, saved, "a test")) == ""
    assert torch.equal(fresh.get_parameter("0.weight"), saved["0.weight"])


class Tied(nn.Module):
    """Two names for one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


def test_one_of_two_tied_tensors_is_enough(tmp_path: Path) -> None:
    """Safetensors leaves the other out; and what a file leaves out as equal reaches a network that ties nothing."""
    saved, fresh = Tied(), Tied()
    save_model(saved, str(tmp_path / "tied.safetensors"))
    load_weights(fresh, read_state_dict(tmp_path / "tied.safetensors"), "a test")
    assert torch.equal(fresh.b.weight, saved.a.weight)
    loose = Tied()
    loose.b = nn.Linear(3, 3, bias=False)
    load_weights(loose, read_state_dict(tmp_path / "tied.safetensors"), "a test")
    assert torch.equal(loose.b.weight, saved.a.weight)
    assert torch.equal(loose.a.weight, saved.a.weight)


def test_tied_tensors_of_different_values_are_refused() -> None:
    """Torch would take the last without a word."""
    with pytest.raises(WeightsMismatchError, match=r"b\.weight, with which it is tied"):
        load_weights(Tied(), {"a.weight": torch.ones(3, 3), "b.weight": torch.zeros(3, 3)}, "a test")


def test_auxiliary_heads_may_be_missing_or_too_many() -> None:
    """GoogLeNet's, which training alone needs."""
    saved = copy_of(network())
    loaded = load_weights(network(), saved | {"aux1.fc.weight": torch.ones(1)}, "a test")
    assert loaded.ignored == ("aux1.fc.weight",)
    fresh = network()
    fresh.add_module("AuxLogits", nn.Linear(2, 2))
    assert load_weights(fresh, saved, "a test").new == ("AuxLogits.weight", "AuxLogits.bias")


@pytest.mark.parametrize("head", [(7, 4), None])
def test_a_new_head_keeps_its_initial_values(head: tuple[int, int] | None) -> None:
    """The file's is for other classes, or is not there."""
    fresh = network()
    given, before = copy_of(network()), copy_of(fresh)
    del given["2.weight"], given["2.bias"]
    if head is not None:
        given |= {"2.weight": torch.ones(head), "2.bias": torch.ones(head[0])}
    assert last_layer(fresh, 2) == "2"
    loaded = load_weights(fresh, given, "a test", new=last_layer(fresh, 2))
    assert loaded.new == ("2.bias", "2.weight")
    assert torch.equal(fresh.get_parameter("2.weight"), before["2.weight"])
    assert torch.equal(fresh.get_parameter("0.weight"), given["0.weight"])


def test_extra_state_of_modules_is_loaded() -> None:
    """It need not be a tensor."""

    class Counting(nn.Linear):
        seen = 0

        def get_extra_state(self) -> dict[str, int]:
            return {"seen": self.seen}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.seen = state["seen"]

    saved, fresh = Counting(2, 2), Counting(2, 2)
    saved.seen = 5
    load_weights(fresh, saved.state_dict(), "a test")
    assert fresh.seen == 5


def test_matching_changes_nothing() -> None:
    """It says what would become of the names."""
    fresh = network()
    before = copy_of(fresh)
    assert match_weights(fresh, copy_of(network()), "a test").tensors.keys() == before.keys()
    assert equal(copy_of(fresh), before)


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
