"""Networks come back from disk as they were, or are refused with the reason."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from shallowdeep.artifacts import MODEL_MANIFEST, MODEL_WEIGHTS
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import CheckpointError, ConfigurationError, OutputError, WeightsMismatchError
from shallowdeep.files import sha256_of
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.saving import Architecture, save

PREPROCESSING = Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.2, 0.25))
OBJECT = Architecture("", 3, 16)


def small_backbone(channels: int = 4) -> nn.Module:
    """A classifier of three classes with BatchNorm."""
    layers = [nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4, 3)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def deeper() -> nn.Module:
    """A classifier with room for two internal classifiers."""
    layers: list[nn.Module] = []
    for before in (3, 4, 4):
        layers += [nn.Conv2d(before, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def small_network(seed: int = 0) -> ShallowDeepNetwork:
    """A network with one internal classifier, named classes and random statistics."""
    torch.manual_seed(seed)
    network = convert(small_backbone(), torch.zeros(1, 3, 16, 16), fractions=(0.4,)).train()
    network(torch.randn(8, 3, 16, 16))
    network.preprocessing, network.classes = PREPROCESSING, ("ant", "bee", "cat")
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with a saved network."""
    save(small_network(), tmp_path / "net", OBJECT)
    return tmp_path / "net"


def logits(network: ShallowDeepNetwork) -> torch.Tensor:
    """Of two fixed images."""
    with torch.no_grad():
        found: torch.Tensor = network(torch.linspace(-1, 1, 2 * 3 * 256).view(2, 3, 16, 16))
    return found


def rewrite(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest by hand, checksum taken out."""
    document = json.loads((directory / MODEL_MANIFEST).read_text())
    del document["sha256"]
    change(document)
    (directory / MODEL_MANIFEST).write_text(json.dumps(document))


def test_a_network_comes_back_exactly(saved: Path) -> None:
    """Every tensor, exit, class name and the preprocessing are as saved; the network is in eval mode on the CPU."""
    network, again = small_network(), load(saved, backbone=small_backbone())
    assert torch.equal(logits(network), logits(again))
    assert again.exits == network.exits
    assert again.backbone_macs == network.backbone_macs
    assert (again.classes, again.preprocessing) == (("ant", "bee", "cat"), PREPROCESSING)
    assert not any(module.training for module in again.modules())
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_cascades_come_back(tmp_path: Path) -> None:
    """Marked in the manifest, their weights among the others; a file of format 1 says nothing of them."""
    torch.manual_seed(0)
    network = convert(deeper(), torch.zeros(1, 3, 16, 16), fractions=(0.3, 0.6), cascaded=True).eval()
    network.preprocessing, network.classes = PREPROCESSING, ("ant", "bee", "cat")
    save(network, tmp_path / "net", OBJECT)
    loaded = load(tmp_path / "net", backbone=deeper())
    assert [exit_.cascaded for exit_ in loaded.exits] == [False, True, False]
    assert torch.equal(logits(loaded), logits(network))
    save(small_network(), tmp_path / "old", OBJECT)
    rewrite(tmp_path / "old", lambda d: [d.update(format_version=1), *(exit_.pop("cascaded") for exit_ in d["exits"])])
    assert not load(tmp_path / "old", backbone=small_backbone()).costs.cascaded


def test_convolutional_heads_of_format_1_come_back(tmp_path: Path) -> None:
    """Their weights had other names."""
    torch.manual_seed(0)
    network = convert(small_backbone(), torch.zeros(1, 3, 16, 16), fractions=(0.4,), heads="conv").eval()
    network.preprocessing, network.classes = PREPROCESSING, ("ant", "bee", "cat")
    save(network, tmp_path / "net", OBJECT)
    tensors = load_file(tmp_path / "net" / MODEL_WEIGHTS)
    older = {
        name.replace("convolutions.0.", "conv.").replace("convolutions.1.", "norm."): value
        for name, value in tensors.items()
    }
    assert older.keys() != tensors.keys()
    save_file(older, tmp_path / "net" / MODEL_WEIGHTS)
    stamp = {
        "bytes": (tmp_path / "net" / MODEL_WEIGHTS).stat().st_size,
        "sha256": sha256_of(tmp_path / "net" / MODEL_WEIGHTS),
    }
    rewrite(tmp_path / "net", lambda d: (d.update(format_version=1), d["weights"].update(stamp)))
    assert torch.equal(logits(load(tmp_path / "net", backbone=small_backbone())), logits(network))


def test_half_precision_halves_the_file_and_rounds(tmp_path: Path) -> None:
    """fp16 weights come back as float32 within 2^-11; what lies beyond fp16's range keeps its 32 bits."""
    network = small_network()
    with torch.no_grad():
        network.backbone.get_buffer("1.running_var").fill_(1e6)
    save(network, tmp_path, Architecture("", 3, 16), dtype="fp16")
    state = load(tmp_path, backbone=small_backbone()).state_dict()
    assert state["backbone.1.running_var"].tolist() == [1e6] * 4
    for name, value in network.state_dict().items():
        assert state[name].dtype == value.dtype
        torch.testing.assert_close(state[name], value, rtol=2**-11, atol=2**-24)
    save(network, tmp_path / "whole", Architecture("", 3, 16))
    assert (tmp_path / MODEL_WEIGHTS).stat().st_size < 0.8 * (tmp_path / "whole" / MODEL_WEIGHTS).stat().st_size


def test_a_network_with_a_name_needs_no_object(tmp_path: Path) -> None:
    """A name of the registry rebuilds the network, here one without internal classifiers."""
    network = ShallowDeepNetwork.without_exits(build("resnet20", num_classes=3, image_size=32), 123)
    network.preprocessing, network.classes = Preprocessing(32, (0.5,) * 3, (0.5,) * 3), ("a", "b", "c")
    network.input_shape = (3, 32, 32)
    save(network, tmp_path, Architecture("resnet20", 3, 32))
    again = load(tmp_path)
    assert (again.backbone_macs, len(again.exits)) == (123, 1)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_names_of_code_need_trust(workplace: Path) -> None:
    """A manifest that names `package.module:callable` runs it only with trust."""
    network = small_network()
    (workplace / "own_net.py").write_text("from pathlib import Path\nPath('ran').touch()\nraise ImportError('ran')\n")
    save(network, "net", Architecture("own_net:small", 3, 16))
    with pytest.raises(CheckpointError, match=r"Expected --trust \(trust=True\) to import and run 'own_net:small'"):
        load("net")
    assert not Path("ran").exists()
    assert torch.equal(logits(load("net", backbone=small_backbone())), logits(network))


def test_an_object_is_asked_for(saved: Path) -> None:
    """A network built from an object says how to load it."""
    with pytest.raises(CheckpointError, match=r"Expected load\('.*', backbone=...\)"):
        load(saved)
    with pytest.raises(WeightsMismatchError, match=r"different backbone\.0\.weight: expected \(5, 3, 3, 3\)"):
        load(saved, backbone=small_backbone(5))


def test_damaged_weights_are_refused(saved: Path) -> None:
    """Truncated, altered by one bit, or missing: each is told."""
    path = saved / MODEL_WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=rf"Expected {len(whole)} bytes in .*, got {len(whole) - 1}.* truncated"):
        load(saved, backbone=small_backbone())
    path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    with pytest.raises(CheckpointError, match=r"Expected SHA-256 .* the file was altered"):
        load(saved, backbone=small_backbone())
    path.unlink()
    with pytest.raises(CheckpointError, match=r"Expected weights in .*, found no such file"):
        load(saved, backbone=small_backbone())


def test_damaged_manifests_are_refused(saved: Path) -> None:
    """Truncated, altered, missing, or no JSON: each is told."""
    path = saved / MODEL_MANIFEST
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        read_manifest(saved)
    path.write_text(text.replace("bee", "fee"))
    with pytest.raises(CheckpointError, match="the file was altered"):
        read_manifest(saved)
    path.unlink()
    (saved / "config.toml").touch()
    with pytest.raises(CheckpointError, match=r"found none \(an unfinished run\? `train --resume`"):
        read_manifest(saved)
    with pytest.raises(CheckpointError, match=r"found none$"):
        read_manifest(saved / "nowhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(format_version=4), "Expected format version 3 or older in .*, got 4; a newer shallowdeep"),
        (lambda d: d.update(format_version="x"), "Expected format version 3 or older"),
        (lambda d: d.update(format="other"), "Expected a document of format 'shallowdeep-network'"),
        (lambda d: d.pop("exits"), "lacks or garbles: 'exits'"),
        (lambda d: d.update(exits=[]), "without exits"),
        (lambda d: d.update(exits=[{"name": "x"}]), "lacks or garbles"),
        (lambda d: d["model"].update(name=3), "without exits or a model's name"),
        (lambda d: d.update(model=3), "lacks or garbles"),
        (lambda d: d.update(preprocessing={}), "lacks or garbles"),
        (lambda d: d["weights"].pop("sha256"), "lacks or garbles: 'sha256'"),
    ],
)
def test_foreign_and_newer_manifests_are_refused(saved: Path, change: Callable[[Any], object], reason: str) -> None:
    """A manifest of a newer format, of another program, or without its parts is refused with the reason."""
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=reason):
        load(saved, backbone=small_backbone())


def test_other_json_is_refused(saved: Path) -> None:
    """A document that is no manifest at all is told."""
    (saved / MODEL_MANIFEST).write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="got another"):
        read_manifest(saved)


@pytest.mark.parametrize("where", ["weights", "fsync"])
def test_a_full_disk_loses_nothing(saved: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A new network that does not fit leaves the old one, which still loads."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "weights":
        monkeypatch.setattr("shallowdeep.sdn.saving.save_file", full)
    else:
        monkeypatch.setattr(os, "fsync", full)
    before = logits(load(saved, backbone=small_backbone()))
    with pytest.raises(OutputError, match="no space left on the disk"):
        save(small_network(seed=1), saved, OBJECT)
    assert torch.equal(before, logits(load(saved, backbone=small_backbone())))
    assert sorted(path.name for path in saved.iterdir()) == [MODEL_MANIFEST, MODEL_WEIGHTS]


def test_safetensors_errors_are_told_as_what_they_are(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library safetensors hides the operating system's number in its message; it is found again."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("shallowdeep.sdn.saving.save_file", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        save(small_network(), saved, OBJECT)


def test_a_network_made_from_python_is_saved_by_itself(tmp_path: Path) -> None:
    """Without preprocessing, class names or a name to build it by; its weights' hash is known from then on."""
    torch.manual_seed(0)
    network = convert(small_backbone(), torch.zeros(1, 3, 16, 20), fractions=(0.4,)).eval()
    network.save(tmp_path / "net")
    again = load(tmp_path / "net", backbone=small_backbone())
    images = torch.randn(2, 3, 16, 20)
    assert torch.equal(network(images), again(images))
    assert (again.preprocessing, again.classes, again.input_shape) == (None, (), (3, 16, 20))
    assert network.weights == again.weights == sha256_of(tmp_path / "net" / MODEL_WEIGHTS)
    with pytest.raises(CheckpointError, match=r"load\(.*, backbone=\.\.\.\): this network was built from an object"):
        load(tmp_path / "net")
    again.save(tmp_path / "copy")
    assert load(tmp_path / "copy", backbone=small_backbone()).weights == network.weights


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    """An unknown dtype and a network that knows no input shape leave nothing behind."""
    network = small_network()
    with pytest.raises(ConfigurationError, match="Expected weights dtype to be one of fp32, fp16, got 'int8'"):
        save(network, tmp_path / "net", OBJECT, dtype="int8")
    network.input_shape = None
    with pytest.raises(ConfigurationError, match="Expected a network that knows the shape of its images"):
        save(network, tmp_path / "net", OBJECT)
    assert not (tmp_path / "net").exists()
