"""Preprocessing survives JSON, refuses nonsense, and normalises by the formula."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from shallowdeep.data.image_rules import ImageRules
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError

GOOD: dict[str, Any] = {"size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0]}


def test_it_survives_json() -> None:
    """What a manifest holds comes back equal."""
    preprocessing = Preprocessing.from_dict(GOOD)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    assert hash(preprocessing) == hash(Preprocessing(32, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "at least 1 pixel, such as 224 or 96x160, got 0"),
        ({"size": "32p"}, "at least 1 pixel, such as 224 or 96x160, got '32p'"),
        ({"std": [0.5, 0.0, 1.0]}, "positive std"),
        ({"mean": [0.5, 0.5]}, "as many numbers of std as of mean, got 3 and 2"),
        ({"mean": [0.5, 0.5, float("nan")]}, "finite numbers as mean"),
        ({"more": 1}, "mean, size and std"),
        ({"channel_order": "gbr"}, "Expected channel order rgb or bgr, got 'gbr'"),
        ({"interpolation": "cubic"}, "Expected interpolation nearest, bilinear, bicubic or lanczos, got 'cubic'"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], message: str) -> None:
    """One line says which value."""
    with pytest.raises(ConfigurationError, match=message):
        Preprocessing.from_dict({**GOOD, **change})


def test_something_else_than_a_table_is_refused() -> None:
    """A manifest may hold anything."""
    with pytest.raises(ConfigurationError, match="got list"):
        Preprocessing.from_dict([1, 2])  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_normalising_follows_the_formula(layout: torch.memory_format) -> None:
    """Value by value; the memory format stays, and so does the input."""
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8).contiguous(memory_format=layout)
    before = images.clone()
    result = Preprocessing.from_dict(GOOD).normalize(images)
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - GOOD["mean"][channel]) / GOOD["std"][channel]
        assert torch.allclose(result[:, channel].double(), expected, atol=1e-6)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)


def test_arrays_are_normalised_as_tensors_are() -> None:
    """Prediction without torch sees bit for bit what training sees."""
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    preprocessing = Preprocessing.from_dict(GOOD)
    result = preprocessing.normalize_array(images.numpy())
    assert torch.equal(torch.from_numpy(result), preprocessing.normalize(images))


def test_documents_hold_rules_and_order_that_are_no_defaults() -> None:
    """Those of older versions stand for the defaults; what is a default is not written, so that they read it too."""
    assert Preprocessing.from_dict(GOOD).to_dict() == GOOD
    assert Preprocessing.from_dict(GOOD).rules == ImageRules()
    full = {**GOOD, "alpha": "drop", "crop_share": 0.875, "exact_resize": True, "channel_order": "bgr"}
    preprocessing = Preprocessing.from_dict(full)
    assert preprocessing.rules == ImageRules(alpha="drop", crop_share=0.875)
    assert preprocessing.channel_order == "bgr"
    assert preprocessing.to_dict() == full


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_channels_go_to_the_network_in_its_order(layout: torch.memory_format) -> None:
    """Blue first, by the first mean and std; pixels stay RGB, and the memory format stays."""
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8).contiguous(memory_format=layout)
    before = images.clone()
    preprocessing = Preprocessing.from_dict({**GOOD, "channel_order": "bgr"})
    result = preprocessing.normalize(images)
    for place, channel in enumerate((2, 1, 0)):
        expected = (images[:, channel].double() / 255 - GOOD["mean"][place]) / GOOD["std"][place]
        assert torch.allclose(result[:, place].double(), expected, atol=1e-6)
    assert result.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)
    array = preprocessing.normalize_array(images.numpy())
    assert array.flags.c_contiguous
    assert torch.equal(torch.from_numpy(array), result)
