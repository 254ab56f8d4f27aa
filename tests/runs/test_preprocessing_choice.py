"""Which preprocessing a training takes: single settings win over a preset, a preset over what a library publishes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shallowdeep.checkpoint import read_manifest
from shallowdeep.data.image_rules import ImageRules
from shallowdeep.errors import ConfigurationError
from shallowdeep.models.published_input import IMAGENET_MEAN, IMAGENET_STD
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.preparation import prepare_data
from shallowdeep.runs.preprocessing_choice import rules_of, settled, with_preset, with_published

OWN = TrainConfig(data="images", model="resnet20", weights="mine.pth")
TORCHVISION = replace(OWN, model="torchvision:resnet18")
TIMM = replace(OWN, model="timm:test_resnet")


def library(interpolation: str, share: float, resize: str = "crop") -> ImageRules:
    """Rules of a library: its loaders drop transparency and do not look at EXIF."""
    return ImageRules(interpolation, resize, share, "drop", "stored")


@pytest.mark.parametrize(
    ("config", "preset", "expected"),
    [
        (TORCHVISION, "torchvision", library("bilinear", 0.875)),
        (replace(TORCHVISION, model="torchvision:efficientnet_b2"), "torchvision", library("bicubic", 1.0)),
        (TORCHVISION, "timm", library("bicubic", 0.875)),  # the usual one: timm does not know the name
        (replace(TIMM, model="timm:resnet18"), "timm", library("bicubic", 0.95)),
        (TIMM, "torchvision", library("bilinear", 0.875)),
        (OWN, "torchvision", library("bilinear", 0.875)),
        (OWN, "timm", library("bicubic", 0.875)),
        (replace(OWN, model="no.such:thing"), "timm", library("bicubic", 0.875)),  # is not imported
    ],
)
def test_presets_are_a_librarys_own_transform_or_its_usual_one(
    config: TrainConfig, preset: str, expected: ImageRules
) -> None:
    """They are filled in, so that a run needs the library's version no more."""
    found = with_preset(replace(config, preprocessing=preset))
    assert (rules_of(found), found.preprocessing) == (expected, "")
    assert len(found.mean) == len(found.std) == 3
    assert with_preset(found) == found


def test_single_settings_win_over_a_preset() -> None:
    """Each on its own; a mean needs no std there."""
    given = {"alpha": "white", "crop_share": 1.0, "mean": (0.1, 0.2, 0.3)}
    found = with_preset(replace(OWN, preprocessing="timm", **given))  # type: ignore[arg-type] # of several types
    assert rules_of(found) == ImageRules(orientation="stored", alpha="white")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), IMAGENET_STD)


def test_borders_have_the_colour_of_the_mean() -> None:
    """As timm's have, where no other is given."""
    found = with_preset(replace(OWN, preprocessing="timm", resize="pad", mean=(0.1, 0.5, 0.7)))
    assert rules_of(found).fill == (26, 128, 178)
    assert rules_of(replace(OWN, resize="pad")).fill == (0, 0, 0)


@pytest.mark.parametrize("preset", ["timm", "torchvision", "", "file.json"])
def test_libraries_numbers_are_put_in_the_networks_order(workplace: Path, preset: str) -> None:
    """They are red, green, blue; numbers that are given stay, and borders are RGB as all pixels are."""
    (workplace / "file.json").write_text(
        json.dumps({"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "crop_pct": 1.0, "crop_mode": "border"})
    )
    own = replace(TORCHVISION, preprocessing=preset, channel_order="bgr", resize="pad")
    found = with_published(with_preset(own))[0]
    assert (found.mean, found.std) == (IMAGENET_MEAN[::-1], IMAGENET_STD[::-1])
    assert rules_of(found).fill == (124, 116, 104)
    given = with_published(with_preset(replace(own, mean=(0.1, 0.5, 0.7))))[0]
    assert (given.mean, given.std) == ((0.1, 0.5, 0.7), IMAGENET_STD[::-1])
    assert rules_of(given).fill == (178, 128, 26)
    assert with_published(with_preset(replace(own, channel_order="rgb")))[0].mean == IMAGENET_MEAN


def test_numbers_of_a_file_are_in_its_own_order(workplace: Path) -> None:
    """They are turned round where another order is asked for."""
    (workplace / "file.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "channel_order": "bgr"}))
    own = replace(OWN, preprocessing="file.json")
    assert with_preset(own).mean == with_preset(replace(own, channel_order="bgr")).mean == (0.1, 0.2, 0.3)
    assert with_preset(replace(own, channel_order="rgb")).mean == (0.3, 0.2, 0.1)


def test_own_weights_of_a_known_name_take_what_its_library_publishes() -> None:
    """In full at the published size; at another the whole image is taken; what is given wins; it is said in a line."""
    found, note = with_published(TORCHVISION)
    assert rules_of(found) == library("bilinear", 0.875)
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert note is not None
    assert note.startswith(
        "Preprocessing of torchvision:resnet18, as its library publishes it: bilinear, crop at share 0.875, "
        "alpha drop, mean 0.485,0.456,0.406, std 0.229,0.224,0.225; --preprocessing, "
    )
    assert with_published(found) == (found, None)
    other, note = with_published(replace(TORCHVISION, image_size=64))
    assert note is not None
    assert "as its library publishes it (the crop share 0.875 is for 224 pixels): bilinear, crop at share 1" in note
    assert rules_of(other) == library("bilinear", 1.0)
    same, _ = with_published(replace(TORCHVISION, image_size=224, interpolation="lanczos"))
    assert rules_of(same) == library("lanczos", 0.875)
    published, _ = with_published(replace(TIMM, weights="", pretrained=True))
    assert rules_of(published) == library("bilinear", 0.95)


def test_weights_of_which_nothing_is_known_are_warned_of() -> None:
    """What is taken, and which options say otherwise; not where rules are given too, nor from scratch."""
    found, note = with_published(OWN)
    assert found == OWN
    assert note is not None
    assert note.startswith("No preprocessing is known for mine.pth: mean and std are measured on the training images")
    assert "bicubic, crop at share 1, alpha white" in note
    assert "--preprocessing, --mean and --std" in note
    numbers = replace(OWN, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert "mean and std are as given, the rules are bicubic" in (with_published(numbers)[1] or "")
    assert with_published(replace(numbers, interpolation="bilinear", alpha="drop"))[1] is None
    scratch = replace(TORCHVISION, weights="")
    assert with_published(scratch) == (scratch, None)


def test_a_run_goes_on_as_it_began() -> None:
    """One that began before libraries' transforms were taken too; the accuracy expected was checked then."""
    old = replace(TORCHVISION, weights="", pretrained=True)
    assert settled(old, old) == (old, None)
    begun = with_published(replace(TORCHVISION, expect_accuracy=0.9))[0]
    assert settled(TORCHVISION, begun) == (begun, None)
    assert settled(replace(begun, expect_accuracy=0.5), begun) == (begun, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": "bilinear"}, "Expected interpolation 'bicubic', that of run, got 'bilinear'"),
        ({"channel_order": "bgr"}, "Expected channel order 'rgb', that of run, got 'bgr'"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "Expected mean .*, that of run, got 0.5,0.5,0.5"),
        ({"preprocessing": "torchvision"}, "Expected interpolation 'bicubic', that of run, got 'bilinear'"),
    ],
)
def test_a_run_taken_over_keeps_its_preprocessing(made_run: Path, changes: dict[str, Any], message: str) -> None:
    """Options that contradict it are refused; those that repeat it are not."""
    assert made_run.is_dir()
    init = TrainConfig(data="images", init="run")
    with pytest.raises(ConfigurationError, match=message):
        checked(replace(init, **changes))
    kept = read_manifest("run").preprocessing
    assert kept is not None
    again = checked(replace(init, mean=kept.mean, std=kept.std, interpolation="bicubic", crop_share=1.0))
    assert prepare_data(again).preprocessing == kept


def test_data_is_prepared_by_rules_order_and_normalisation(workplace: Path) -> None:
    """A measured mean follows the order of channels; one that is given is taken as it is."""
    assert workplace.is_dir()
    base = TrainConfig(data="images", model="resnet20", image_size=12)
    plain, turned = (prepare_data(replace(base, channel_order=order)).preprocessing for order in ("", "bgr"))
    assert (turned.mean, turned.std) == (plain.mean[::-1], plain.std[::-1])
    assert (plain.channel_order, turned.channel_order) == ("rgb", "bgr")
    given = replace(base, interpolation="nearest", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channel_order="bgr")
    data = prepare_data(given)
    assert data.preprocessing.mean == (0.1, 0.2, 0.3)
    assert data.preprocessing.rules == data.test.rules == ImageRules("nearest")
    assert data.test.subset([0]).rules == data.test.altered([0], lambda pixels: pixels).rules == ImageRules("nearest")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"size": 48, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "resize": "stretch", "channel_order": "bgr"},
            {"image_size": 48, "mean": (0.1, 0.2, 0.3), "resize": "stretch", "channel_order": "bgr", "alpha": ""},
        ),
        (  # timm, as it pushes models to the hub
            {
                "architecture": "vit",
                "num_classes": 5,
                "pretrained_cfg": {
                    "input_size": [3, 96, 96],
                    "interpolation": "bilinear",
                    "crop_pct": 0.9,
                    "crop_mode": "squash",
                    "mean": [0.5, 0.5, 0.5],
                    "std": [0.25, 0.25, 0.25],
                    "license": "mit",
                },
            },
            {
                "image_size": 96,
                "interpolation": "bilinear",
                "crop_share": 0.9,
                "resize": "stretch",
                "std": (0.25, 0.25, 0.25),
                "alpha": "drop",
                "orientation": "stored",
            },
        ),
        (  # a ViT of Hugging Face
            {
                "image_processor_type": "ViTImageProcessor",
                "size": {"height": 224, "width": 224},
                "resample": 2,
                "do_rescale": True,
                "rescale_factor": 0.00392156862745098,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            },
            {
                "image_size": 224,
                "resize": "stretch",
                "crop_share": 1.0,
                "interpolation": "bilinear",
                "alpha": "drop",
                "mean": (0.5, 0.5, 0.5),
                "orientation": "",
            },
        ),
        (  # a CLIP or BiT
            {
                "do_resize": True,
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
                "resample": 3,
                "image_mean": [0.4, 0.4, 0.4],
                "image_std": [0.2, 0.2, 0.2],
            },
            {"image_size": 224, "resize": "crop", "crop_share": 0.875, "interpolation": "bicubic"},
        ),
        (  # a ConvNeXT
            {
                "feature_extractor_type": "ConvNextFeatureExtractor",
                "size": 224,
                "crop_pct": 0.875,
                "resample": 3,
                "image_mean": [0.4, 0.4, 0.4],
                "image_std": [0.2, 0.2, 0.2],
            },
            {"image_size": 224, "resize": "crop", "crop_share": 0.875},
        ),
        (  # a MobileViT: blue first, not normalised
            {
                "do_flip_channel_order": True,
                "do_resize": True,
                "size": {"shortest_edge": 288},
                "resample": 2,
                "crop_size": {"height": 256, "width": 256},
                "do_rescale": True,
            },
            {"image_size": 256, "channel_order": "bgr", "mean": (0.0,) * 3, "std": (1.0,) * 3},
        ),
        (  # numbers for values up to 255
            {
                "do_resize": True,
                "size": 32,
                "do_rescale": False,
                "image_mean": [51.0, 102.0, 127.5],
                "image_std": [51.0, 51.0, 51.0],
            },
            {"image_size": 32, "mean": (0.2, 0.4, 0.5), "std": (0.2, 0.2, 0.2), "resize": "stretch"},
        ),
    ],
)
def test_files_say_what_is_taken(workplace: Path, document: dict[str, Any], expected: dict[str, Any]) -> None:
    """Our own keys, timm's and Hugging Face's."""
    (workplace / "file.json").write_text(json.dumps(document))
    found = with_preset(replace(OWN, preprocessing="file.json"))
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_manifests_preprocessing_is_such_a_file(workplace: Path) -> None:
    """What a run or a bundle says can be given to another training, in TOML too."""
    (workplace / "file.toml").write_text('alpha = "black"\nfill = [1, 2, 3]\nresize = "pad"\ncrop_share = 1\n')
    found = with_preset(replace(OWN, preprocessing="file.toml"))
    assert rules_of(found) == ImageRules(alpha="black", resize="pad", fill=(1, 2, 3))
    (workplace / "again.json").write_text(json.dumps(rules_of(found).to_dict()))
    assert rules_of(with_preset(replace(OWN, preprocessing="again.json"))) == rules_of(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expected preprocessing in JSON or TOML in file.json, got: "),
        ("[1]", "Expected a table of settings in file.json, got list"),
        ('{"sise": 32}', "Expected the name of a key of preprocessing in file.json, got 'sise'; nearest: size"),
        ('{"alpha": 3}', "Expected alpha to be of type str, got 3"),
        ('{"crop_pct": 0.9, "crop_mode": "random"}', "Expected the name of a crop mode in file.json, got 'random'"),
        ('{"do_resize": false, "size": 32}', r"Expected images to be resized \(do_resize\) in file.json, got false"),
        ('{"do_resize": true}', "Expected complete preprocessing in file.json"),
        ('{"do_resize": true, "size": {"height": 2, "width": 3}}', "Expected a square size in file.json"),
        (
            '{"do_resize": true, "size": {"shortest_edge": 9}}',
            "Expected a square input in file.json, got shortest_edge 9",
        ),
        ('{"do_resize": true, "size": 9, "resample": 4}', "Expected resample 0, 1, 2 or 3 in file.json, got 4"),
    ],
)
def test_files_that_cannot_be_used_are_refused(workplace: Path, text: str, message: str) -> None:
    """In one line."""
    (workplace / "file.json").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        with_preset(replace(OWN, preprocessing="file.json"))
    assert "\n" not in str(caught.value)
