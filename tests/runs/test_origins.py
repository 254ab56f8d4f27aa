"""Which weights and data a run goes back to, where they may hold its held-out images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.made_run import TRUSTING

from shallowdeep.models.registry import build
from shallowdeep.runs.config import TrainConfig, read_config, write_config
from shallowdeep.runs.origins import origins
from shallowdeep.workflows.train import train_run

PLAIN = TrainConfig(data="images", model="tiny_nets:plain", recipe="backbone", epochs=1, batch_size=16)


def made(out: str, **changes: object) -> Path:
    """A run of tiny settings."""
    train_run(replace(PLAIN, **changes), Path(out), context=TRUSTING)  # type: ignore[arg-type] # of several types
    return Path(out)


def heads(out: str, init: str, **changes: object) -> Path:
    """A run that takes over the backbone of another."""
    return made(out, model="", init=init, recipe="ic-only", **changes)


def test_a_run_from_random_weights_has_none(workplace: Path) -> None:
    """Nor has one from a run on the same split, wherever that data is now."""
    made("a")
    assert origins(Path("a")) == []
    shutil.copytree("images", "copy")
    assert origins(heads("b", "a", data="copy")) == []
    assert origins(heads("c", "b")) == []
    assert workplace.is_dir()


def test_weights_and_other_data_are_followed_back(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From run to run, also from another directory; the nearest first."""
    torch.save(build("tiny_nets:plain", num_classes=3, image_size=16).state_dict(), "w.pth")
    made("a", weights="w.pth")
    assert origins(Path("a")) == ["w.pth"]
    heads("b", "a", data="others")
    assert origins(Path("b")) == ["a, trained on images", "w.pth"]
    heads("c", "b", data="others")
    assert origins(Path("c")) == ["a, trained on images", "w.pth"]
    monkeypatch.chdir("/")
    found = origins(workplace / "c")
    root = str(workplace).removeprefix("/")
    assert found == [f"{root}/a, trained on {root}/images", f"{root}/w.pth"]


def test_published_weights_are_told(workplace: Path) -> None:
    """Settings say so; nothing is fetched."""
    write_config(TrainConfig(data="images", model="torchvision:resnet18", pretrained=True), workplace / "a")
    write_config(TrainConfig(data="images", model="torchvision:resnet18", init=str(workplace / "a")), workplace / "b")
    for name in ("a", "b"):
        (workplace / name / "data.json").write_text(json.dumps({"fingerprint": "cut", "images": "same"}))
    assert origins(workplace / "b") == ["published weights"]


def test_another_split_of_the_same_images_is_told(workplace: Path) -> None:
    """Training refuses it, but not through a run on other data between."""
    made("a", seed=1)
    heads("b", "a", data="others")
    assert origins(heads("c", "b")) == ["b, trained on others", "a, trained on another split of images"]
    assert workplace.is_dir()


def test_a_chain_that_breaks_off_says_so(workplace: Path) -> None:
    """Where a run is gone, its settings or its record are damaged, or it is its own ancestor."""
    made("a")
    heads("b", "a")
    heads("c", "b")
    record = (workplace / "a" / "data.json").read_text()
    (workplace / "a" / "data.json").write_text("{")
    assert origins(Path("c")) == ["a, trained on images"]
    (workplace / "a" / "data.json").write_text(record)
    write_config(replace(read_config(workplace / "a" / "config.toml"), init=str(workplace / "b")), workplace / "a")
    assert origins(Path("c")) == ["…"]
    (workplace / "a" / "config.toml").write_text("?")
    assert origins(Path("c")) == ["a, whose settings are missing", "…"]
    shutil.rmtree("b")
    assert origins(Path("c")) == ["b, whose settings are missing", "…"]
    (workplace / "c" / "config.toml").unlink()
    assert origins(Path("c")) == ["…"]


def test_older_runs_are_compared_as_far_as_they_know(workplace: Path) -> None:
    """Their split is enough; without that nothing is known."""
    made("a")
    heads("b", "a")
    record = workplace / "a" / "data.json"
    record.write_text(json.dumps({"fingerprint": json.loads(record.read_text())["fingerprint"]}))
    assert origins(Path("b")) == []
    record.unlink()
    assert origins(Path("b")) == []  # the manifest has it too
    manifest = workplace / "a" / "model.json"
    manifest.unlink()
    assert origins(Path("b")) == ["a, trained on images"]
