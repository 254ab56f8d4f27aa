"""Networks on the Hugging Face hub; the hub is a folder here."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shallowdeep.checkpoint import load
from shallowdeep.errors import ModelError
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy, write_policy
from shallowdeep.models.registry import build
from shallowdeep.sdn import hub
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.saving import Architecture


@pytest.fixture
def network() -> ShallowDeepNetwork:
    """A small one that can be built by name."""
    torch.manual_seed(0)
    made = convert(build("resnet20", num_classes=3, image_size=32).eval(), torch.zeros(1, 3, 32, 32), fractions=[0.5])
    made.architecture, made.classes = Architecture("resnet20", 3, 32), ("ape", "bee", "cat")
    return made.eval()


@pytest.fixture
def uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub keeps what is uploaded."""

    class Interface:
        def create_repo(self, name: str, **_: object) -> str:
            return f"https://hub/{name}"

        def upload_folder(self, *, repo_id: str, folder_path: str, **_: object) -> None:
            shutil.copytree(folder_path, tmp_path / "hub" / repo_id)

    def download(name: str) -> str:
        if not (tmp_path / "hub" / name).is_dir():
            raise OSError(f"no such repository: {name}")
        return str(tmp_path / "hub" / name)

    monkeypatch.setattr(hub, "_hub", lambda: SimpleNamespace(HfApi=Interface, snapshot_download=download))
    return tmp_path / "hub"


def test_there_and_back(network: ShallowDeepNetwork, uploaded: Path) -> None:
    """The same logits, and a card with its exits."""
    assert network.push_to_hub("me/net") == "https://hub/me/net"
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load("hf:me/net")(images), network(images))
    card = (uploaded / "me/net/README.md").read_text()
    assert "2 | " not in card.split("| 1 |")[1]
    assert "3 classes (ape, bee, cat)" in card
    assert "Nothing is promised." in card


def test_a_run_goes_as_it_is(network: ShallowDeepNetwork, uploaded: Path, tmp_path: Path) -> None:
    """Its policy still belongs to its weights; its settings, which name places here, stay here."""
    run = tmp_path / "run"
    network.save(run)
    write_policy(Policy((0.75,), weights=network.weights), run / "policy.json")
    (run / "history.jsonl").write_text('{"tune_accuracy": [0.5, 0.75]}\n')
    (run / "config.toml").write_text("data = 'here'")
    load(run).push_to_hub("me/run", run=run)
    again = load("hf:me/run")
    assert read_policy(uploaded / "me/run/policy.json", again.weights).thresholds == (0.75,)
    assert not (uploaded / "me/run/config.toml").exists()
    card = (uploaded / "me/run/README.md").read_text()
    assert "| 75.0 % |" in card
    assert "[0.75]" in card


@pytest.mark.usefixtures("uploaded")
def test_no_such_network() -> None:
    """In one line."""
    with pytest.raises(ModelError, match=r"Expected a network on the Hugging Face hub in 'hf:me/none', got OSError"):
        load("hf:me/none")


def test_a_local_folder(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """Works the same, without the hub."""
    network.save(tmp_path / "net")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load(f"hf:{tmp_path / 'net'}")(images), network(images))
