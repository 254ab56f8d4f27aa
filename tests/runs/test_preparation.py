"""Settings to data: which augmentation a training gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.preparation import prepare_data


@pytest.mark.parametrize(
    ("folder", "changes", "expected"),
    [
        ("my-cifar", {}, "light"),  # the preset `short`
        ("my-cifar", {"preset": "paper"}, "cifar"),
        ("my-cifar", {"recipe": "ic-only"}, "cifar"),
        ("my-cifar", {"recipe": "ic-only", "train_backbone": True}, "light"),
        ("my-cifar", {"augmentation": "cifar"}, "cifar"),
        ("images", {}, "standard"),
        ("images", {"augmentation": "none"}, "none"),
    ],
)
def test_augmentation_follows_data_and_preset(
    workplace: Path, folder: str, changes: dict[str, Any], expected: str
) -> None:
    """The data's, lighter on CIFAR where few epochs train the backbone, unless one is asked for."""
    (workplace / "images").rename(workplace / folder)
    config = TrainConfig(data=folder, model="resnet20", image_size=16, **changes)
    assert prepare_data(config).augmentation == expected
