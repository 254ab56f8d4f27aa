"""An image classifier of `transformers` from a local folder: trained, exported, and served by `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Shell

from shallowdeep.checkpoint import load
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.image import decode_image
from shallowdeep.models.hf_zoo import published_input
from shallowdeep.models.published_input import PublishedInput
from shallowdeep.sdn.logits import logits_of

PROCESSOR = {
    "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
}  # fmt: skip


def write_vit(folder: Path, processor: dict[str, object]) -> Path:
    """A small ViT with its image processor."""
    from transformers import CONFIG_MAPPING, AutoModelForImageClassification  # noqa: PLC0415 - seconds

    torch.manual_seed(0)
    config = CONFIG_MAPPING["vit"](
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_from_a_folder_to_predictions(shell: Shell, workplace: Path) -> None:
    """Its processor says how images become input, its head starts anew for other classes, `predict` answers alike."""
    model = write_vit(workplace / "vit", PROCESSOR)
    done = shell(
        "train", "--data", "images", "--model", f"hf:{model}", "--recipe", "joint", "--epochs", 1, "--exits", 2,
        "--batch-size", 16, "--augmentation", "none", "--out", "run",
    )  # fmt: skip
    assert done[0] == 0, done[2]
    (workplace / "vit").rename(workplace / "gone")
    network = load("run")
    preprocessing = images_alone(network.preprocessing)  # type: ignore[arg-type]
    assert (preprocessing.mean, preprocessing.std, preprocessing.size) == ((0.5,) * 3, (0.25,) * 3, 32)
    assert preprocessing.rules.interpolation == "bilinear"
    for command in (
        ("calibrate", "run", "--threshold", 2.0),
        ("export", "run", "--out", "bundle"),
    ):
        done = shell(*command)
        assert done[0] == 0, done[2]
    picture = min(Path("images").rglob("*.png"))
    done = shell("predict", "bundle", picture, "--probabilities", "--json")
    assert done[0] == 0, done[2]
    told = json.loads(done[1])["predictions"][0]["probabilities"]
    pixels = decode_image(picture, preprocessing.size, preprocessing.rules)
    images = torch.from_numpy(preprocessing.normalize_array(pixels[None].transpose(0, 3, 1, 2)))
    with torch.no_grad():
        expected = logits_of(network.to_backbone()(images)).softmax(-1)[0].numpy()
    assert np.allclose(told, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("bilinear", "stretch", 1.0, 32)),
        (
            {
                "size": {"shortest_edge": 40},
                "crop_size": {"height": 32, "width": 32},
                "do_center_crop": True,
                "resample": 3,
            },
            ("bicubic", "crop", 0.8, 32),
        ),
        ({"crop_pct": 0.9, "size": {"shortest_edge": 32}}, ("bilinear", "crop", 0.9, 32)),
    ],
)
def test_image_processors(tmp_path: Path, changes: dict[str, object], expected: tuple[object, ...]) -> None:
    """As the library's own processors use these settings."""
    found = published_input(f"hf:{write_vit(tmp_path / 'vit', {**PROCESSOR, **changes})}")
    assert isinstance(found, PublishedInput)
    assert (found.interpolation, found.resize, found.crop_share, found.size) == expected


def test_a_folder_without_a_processor(tmp_path: Path) -> None:
    """Nothing is known of its images."""
    folder = write_vit(tmp_path / "vit", PROCESSOR)
    (folder / "preprocessor_config.json").unlink()
    assert published_input(f"hf:{folder}") is None
