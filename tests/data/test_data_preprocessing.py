"""Preprocessing survives JSON, refuses nonsense, and normalises by the formula."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

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
        ({"size": 0}, "at least 1 pixel, got 0"),
        ({"size": "32"}, "at least 1 pixel, got '32'"),
        ({"std": [0.5, 0.0, 1.0]}, "positive std"),
        ({"mean": [0.5, 0.5]}, "3 values of mean"),
        ({"mean": [0.5, 0.5, float("nan")]}, "finite numbers as mean"),
        ({"more": 1}, "mean, size and std"),
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
