"""Networks of one or four channels, on images that are no squares: trained, exported, and served by `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import Shell

from shallowdeep.checkpoint import load
from shallowdeep.data.image import decode_image
from shallowdeep.data.image_rules import ImageRules
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError

CLASSES = ("left", "right")
NETWORK = """
from torch import nn

def grey(num_classes, channels=3, image_size=None):
    assert image_size == (64, 96), image_size
    layers = []
    for inputs in (channels, 8, 8, 8):
        layers += [nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Linear(16, num_classes))

grey.image_size = 64
"""


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images that are bright on one side, of odd sizes and kinds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "other_nets.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    for part, count in (("train", 120), ("test", 40)):
        for number in range(count):
            label = number % 2
            height, width = int(random.integers(50, 90)), int(random.integers(90, 140))
            pixels = random.integers(0, 120, (height, width), dtype=np.uint8)
            pixels[:, : width // 2] += np.uint8(120 * (1 - label))
            pixels[:, width // 2 :] += np.uint8(120 * label)
            folder = tmp_path / "data" / part / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels)
            if number % 3 == 0:
                image = image.convert("RGB")
            elif number % 3 == 1:
                image = Image.fromarray(pixels.astype(np.uint16) * 257)
            image.save(folder / f"{number:03}.png")
    return tmp_path


@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize(("channels", "backend"), [(1, "onnxruntime"), (4, "openvino")])
def test_from_images_to_predictions(shell: Shell, channels: int, backend: str) -> None:
    """`predict` answers as the network does on the same pixels; `bench` runs both."""
    made = shell(
        "train", "--data", "data", "--model", "other_nets:grey", "--recipe", "joint", "--exits", 2, "--epochs", 6,
        "--batch-size", 16, "--image-size", "64x96", "--channels", channels, "--augmentation", "none", "--out", "run",
    )  # fmt: skip
    assert made[0] == 0, made[2]
    manifest = json.loads(Path("run/model.json").read_text())
    assert manifest["input_shape"] == [channels, 64, 96]
    assert manifest["preprocessing"]["size"] == [64, 96]
    assert len(manifest["preprocessing"]["mean"]) == channels
    for command in (
        ("evaluate", "run", "--trust"), ("calibrate", "run", "--threshold", 0.9, "--trust"),
        ("report", "run", "--trust"),
        ("export", "run", "--backend", backend, "--out", "bundle", "--trust"),
        ("bench", "bundle", "--batch-sizes", 2, "--rounds", 1, "--threads", 1),
    ):  # fmt: skip
        done = shell(*command)
        assert done[0] == 0, done[2]
    network = load("run", trust=True)
    assert network.preprocessing is not None
    status, output, errors = shell("predict", "bundle", "data/test", "--json")
    assert status == 0, errors
    answers = json.loads(output)["predictions"]
    files = [Path(answer["file"]) for answer in answers]
    pixels = np.stack([decode_image(file, (64, 96), network.preprocessing.rules) for file in files])
    images = network.preprocessing.normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    with torch.no_grad():
        logits = network(images)
    said = [network.classes[int(logits[answer["exit"], place].argmax())] for place, answer in enumerate(answers)]
    assert [answer["label"] for answer in answers] == said
    right = np.mean([answer["label"] == file.parent.name for answer, file in zip(answers, files, strict=True)])
    assert right > 0.9


@pytest.mark.usefixtures("halves")
def test_what_takes_colours_alone_says_so(shell: Shell) -> None:
    """The paper's networks, triggers; and numbers that do not fit the channels."""
    base = ("train", "--data", "data", "--epochs", 1, "--out", "run", "--image-size", "64x96")
    status, _, errors = shell(*base, "--model", "resnet20", "--channels", 1)
    assert status == 2
    assert "Expected 3 channels for 'resnet20', got 1; timm: names and your own" in errors
    status, _, errors = shell(
        *base, "--model", "other_nets:grey", "--channels", 1, "--mean", "0.5,0.5,0.5", "--std", "1,1,1"
    )
    assert status == 2
    assert "Expected one number for --mean and as many for --std" in errors
    for wrong in (2, 0, 5):
        assert "1, 3 or 4 channels" in shell(*base, "--model", "other_nets:grey", "--channels", wrong)[2] or wrong == 0
    status, _, errors = shell("audit", "backdoor", "--data", "data", "--model", "other_nets:grey", "--out", "study")
    assert status == 2


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(40, 90), (90, 40), (64, 64)])
def test_rectangles_follow_the_rules(resize: str, size: tuple[int, int]) -> None:
    """A picture in the wanted shape fills it under every rule; others are cropped, padded or stretched."""
    height, width = size
    rules = ImageRules(resize=resize, interpolation="bilinear", fill=(1, 2, 3))
    same = Image.new("RGB", (2 * width, 2 * height), (200, 100, 50))
    assert (decode_image(same, size, rules) == (200, 100, 50)).all()
    wide = Image.new("RGB", (6 * width, 2 * height), (200, 100, 50))
    pixels = decode_image(wide, size, rules)
    assert pixels.shape == (height, width, 3)
    assert (pixels[height // 2, width // 2] == (200, 100, 50)).all()
    assert ((pixels[0, 0] == (1, 2, 3)).all()) == (resize == "pad")
    default = decode_image(wide, size)
    assert default.shape == (height, width, 3)


def test_channels_follow_the_rules() -> None:
    """Grey by luma, alpha kept or opaque, 16 bits scaled, in one, three and four channels."""
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 40))
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    by_channels = {count: ImageRules(channels=count) for count in (1, 3, 4)}
    assert decode_image(red, 8, by_channels[1])[0, 0].tolist() == [76]
    assert decode_image(clear, 8, by_channels[4])[0, 0].tolist() == [10, 20, 30, 40]
    assert decode_image(red, 8, by_channels[4])[0, 0].tolist() == [255, 0, 0, 255]
    grey = round(40_000 / 257)
    assert [decode_image(deep, 8, rules)[0, 0].tolist() for rules in by_channels.values()] == [
        [grey], [grey] * 3, [grey, grey, grey, 255],
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match="Expected 1, 3 or 4 channels of images in files, got 2"):
        ImageRules(channels=2)


def test_preprocessing_of_any_number_of_channels() -> None:
    """From Python, where images come as arrays; documents keep sizes and channels."""
    five = Preprocessing((20, 30), (0.1,) * 5, (0.5,) * 5)
    assert five.shape == (5, 20, 30)
    assert five.normalize_array(np.zeros((2, 5, 20, 30), np.uint8)).shape == (2, 5, 20, 30)
    for one in (five, Preprocessing((20, 30), (0.5,), (0.2,)), Preprocessing(32, (0.5,) * 3, (0.2,) * 3)):
        assert Preprocessing.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert Preprocessing(32, (0.5,), (0.2,)).rules.channels == 1
    with pytest.raises(ConfigurationError, match="as many numbers of std as of mean"):
        Preprocessing(32, (0.5,), (0.2, 0.2))
    with pytest.raises(ConfigurationError, match="three channels for the order bgr"):
        Preprocessing(32, (0.5,), (0.2,), channel_order="bgr")
