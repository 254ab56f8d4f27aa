"""Weights trained elsewhere keep their accuracy, to the digit, through `train`, `evaluate`, `export` and `predict`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import Shell
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from torchvision import transforms
from torchvision.datasets import ImageFolder

from shallowdeep.checkpoint import read_manifest
from shallowdeep.data.image import decode_image
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import write_policy
from shallowdeep.exits.predictions import ExitPredictions

CLASSES = ("azure", "brick", "coral")
SIZE = 24
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Transform = Callable[[Image.Image], Tensor]

TIMM_CONFIG = {
    "architecture": "own",
    "pretrained_cfg": {
        "input_size": [3, SIZE, SIZE], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "border",
        "mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3],
    },
}  # fmt: skip


def write_mixed(root: Path, part: str, count: int) -> None:
    """Write files of odd sizes and many kinds: their centre tells the class, what is transparent misleads."""
    generator = np.random.default_rng(count)
    for number in range(count):
        label = number % len(CLASSES)
        height, width = (int(side) for side in generator.integers(18, 90, 2))
        pixels = generator.integers(0, 200, (height, width, 4), dtype=np.uint8)
        pixels[height // 4 :, width // 4 :, label] += 25
        pixels[: height // 3, :, int(generator.integers(3))] = 255  # a border that tells nothing
        pixels[..., 3] = np.where(generator.random((height, width)) < 0.3, 0, 255)
        folder = root / part / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = 6  # lies on its side
        kind = number // 3 % 4
        if kind == 0:
            image.convert("RGB").save(folder / f"{number:03}.jpg", quality=92, exif=exif)
        elif kind == 1:
            image.quantize(64).save(folder / f"{number:03}.png")
        else:
            image.save(folder / f"{number:03}.png")


def owners(transform: Transform, part: str) -> tuple[Tensor, Tensor, list[str]]:
    """Input (N, 3, S, S), labels (N,) and files of a part, as a loop without this package reads them."""
    folder = ImageFolder(f"mixed/{part}", transform)
    images = torch.stack([image for image, _ in folder])
    return images, torch.tensor(folder.targets), [path for path, _ in folder.samples]


@pytest.fixture
def owned(workplace: Path) -> Path:
    """A working directory with 60 files to train on and 240 to test on."""
    write_mixed(workplace / "mixed", "train", 60)
    write_mixed(workplace / "mixed", "test", 240)
    return workplace


def trained_network(images: Tensor, labels: Tensor) -> nn.Module:
    """A small network that its owner trained in a plain loop."""
    torch.manual_seed(0)
    network: nn.Module = importlib.import_module("tiny_nets").plain(len(CLASSES))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    return network.eval()


def own_keys() -> dict[str, Any]:
    """A pipeline in our own words."""
    return {"size": SIZE, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "resize": "stretch", "alpha": "drop"} | {
        "orientation": "stored", "interpolation": "lanczos", "channel_order": "bgr",
    }  # fmt: skip


PIPELINES: dict[str, tuple[Transform, tuple[object, ...]]] = {
    "torchvision": (
        transforms.Compose(
            [
                transforms.Resize(27), transforms.CenterCrop(SIZE), transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        ),
        ("--preprocessing", "torchvision"),
    ),
    "timm": (
        create_transform(
            (3, SIZE, SIZE), is_training=False, crop_pct=0.9, crop_mode="border", mean=(0.5, 0.4, 0.3),
            std=(0.3, 0.3, 0.3), interpolation="bicubic",
        ),
        ("--preprocessing", "config.json"),
    ),
    "squashed, blue first": (
        transforms.Compose(
            [
                transforms.Resize((SIZE, SIZE), transforms.InterpolationMode.LANCZOS), transforms.ToTensor(),
                transforms.Lambda(lambda image: image.flip(0)), transforms.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
            ]
        ),
        ("--preprocessing", "own.json"),
    ),
    "options": (
        transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()]),
        (
            "--mean", "0,0,0", "--std", "1,1,1", "--interpolation", "bilinear", "--alpha", "drop", "--orientation",
            "stored",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_own_weights_keep_their_accuracy_to_the_digit(name: str, owned: Path, shell: Shell) -> None:
    """Same logits but for rounding, same answer for every file, same accuracy, in the run and in its bundle."""
    transform, options = PIPELINES[name]
    (owned / "config.json").write_text(json.dumps(TIMM_CONFIG))
    (owned / "own.json").write_text(json.dumps(own_keys()))
    images, labels, _ = owners(transform, "train")
    network = trained_network(images, labels)
    torch.save(network.state_dict(), "own.pth")
    images, labels, files = owners(transform, "test")
    with torch.no_grad():
        expected = network(images)
    right = int((expected.argmax(1) == labels).sum())
    accuracy = right / len(labels)
    assert 0.5 < accuracy < 1, accuracy

    train = (
        "train", "--data", "mixed", "--model", "tiny_nets:plain", "--weights", "own.pth", "--recipe", "ic-only",
        "--epochs", 1, "--exits", 2, "--image-size", SIZE,
    )  # fmt: skip
    status, _, errors = shell(*train, *options, "--out", "run", "--expect-accuracy", accuracy, "--json")
    assert status == 0, errors
    assert f"The backbone with own.pth has an accuracy of {accuracy:.4f} ({right} of 240 test images)" in " ".join(
        errors.split()
    )
    assert "No preprocessing is known" not in errors
    status, output, errors = shell("evaluate", "run", "--trust", "--json")
    assert status == 0, errors
    assert json.loads(output)["exits"][-1]["accuracy"] == accuracy
    found = torch.from_numpy(np.asarray(ExitPredictions.load("run/predictions/test.npz").logits[-1]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.argmax(1), expected.argmax(1))

    write_policy(Policy((2.0, 2.0), weights=str(read_manifest("run").weights["sha256"])), Path("run/policy.json"))
    assert shell("export", "run", "--trust", "--out", "bundle")[0] == 0
    status, output, errors = shell("predict", "bundle", "mixed/test", "--json")
    assert status == 0, errors
    answers = {answer["file"]: answer["label"] for answer in json.loads(output)["predictions"]}
    assert answers == {file: CLASSES[int(k)] for file, k in zip(files, expected.argmax(1), strict=True)}

    manifest = read_manifest("run").preprocessing
    assert manifest is not None
    pixels = np.stack([decode_image(Path(file), SIZE) for file in files]).transpose(0, 3, 1, 2)  # by the default rules
    with torch.no_grad():
        other = network(manifest.normalize(torch.from_numpy(pixels)))
    assert (other.argmax(1) != expected.argmax(1)).sum() > 5  # the files tell pipelines apart


def test_weights_of_a_name_in_timm_take_timms_own_transform(owned: Path, shell: Shell) -> None:
    """Without an option: `resolve_model_data_config` and `create_transform` give the same answers."""
    timm = importlib.import_module("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3).eval()
    torch.save({"state_dict": network.state_dict()}, "own.pth")
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    images, _, _ = owners(transform, "test")
    with torch.no_grad():
        expected = network(images)
    status, _, errors = shell(
        "train", "--data", "mixed", "--model", "timm:test_resnet", "--weights", "own.pth", "--recipe", "ic-only",
        "--epochs", 1, "--exits", 1, "--views", 1, "--out", "run",
    )  # fmt: skip
    assert status == 0, errors
    assert "Preprocessing of timm:test_resnet, as its library publishes it: " in " ".join(errors.split())
    assert shell("evaluate", "run")[0] == 0
    found = torch.from_numpy(np.asarray(ExitPredictions.load("run/predictions/test.npz").logits[-1]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert owned.is_dir()


def test_weights_below_the_accuracy_expected_are_refused(trained: Callable[..., Any], shell: Shell) -> None:
    """Before anything is trained or written; reached exactly, it goes on, and a run may be resumed with another."""
    trained("first", "--recipe", "backbone", "--epochs", 2)
    status, output, _ = shell("evaluate", "first", "--trust", "--json")
    accuracy = json.loads(output)["exits"][-1]["accuracy"]
    heads = ("train", "--data", "images", "--recipe", "ic-only", "--init", "first", "--epochs", 1, "--trust")
    status, output, errors = shell(*heads, "--out", "run", "--expect-accuracy", accuracy + 1e-9)
    assert (status, output) == (2, "")
    line = " ".join(errors.split())
    assert line.startswith("shallowdeep: Expected an accuracy of at least ")
    assert f"of the backbone with first, got {accuracy:.4f} (" in line
    assert (
        "of 12 test images); it may want another preprocessing than bicubic, crop at share 1, alpha white, mean "
        in line
    )
    assert "(--preprocessing, --mean and --std, " in line
    assert line.endswith("or another order of classes")
    assert not Path("run").exists()
    status, _, errors = shell(*heads, "--out", "run", "--expect-accuracy", accuracy)
    assert status == 0, errors
    assert f"The backbone with first has an accuracy of {accuracy:.4f}" in " ".join(errors.split())
    status, _, errors = shell(*heads, "--out", "run", "--expect-accuracy", 1, "--resume")
    assert status == 0, errors
    assert "nothing to do" in errors


def test_the_accuracy_of_new_weights_is_not_expected(shell: Shell, workplace: Path) -> None:
    """There is nothing to compare."""
    status, _, errors = shell(
        "train", "--data", "images", "--model", "tiny_nets:plain", "--out", "run", "--expect-accuracy", 0.9
    )
    assert status == 2
    assert "Expected --weights, --pretrained or --init beside --expect-accuracy, got new weights" in errors
    assert not (workplace / "run").exists()
