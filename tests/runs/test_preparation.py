"""Settings to data: which augmentation a training gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shallowdeep.runs.config import TrainConfig, config_from
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


OLD = {"data": "images", "model": "tiny_nets:normed", "recipe": "backbone", "image_size": 16}


def test_the_training_images_of_an_attacked_run_are_poisoned(workplace: Path) -> None:
    """Whether its attack stands in a table, or beside the other settings as in version 0.1.0; test images never are."""
    assert workplace.is_dir()
    attack = {"trigger": "badnets", "target": 1, "poison_ratio": 0.2}
    clean, now, old = (prepare_data(config_from(OLD | change, "FILE")) for change in ({}, {"attack": attack}, attack))
    for data in (now, old):
        changed = data.train.labels != clean.train.labels
        assert int(changed.sum()) == round(0.2 * len(clean.train))
        assert set(data.train.labels[changed].tolist()) == {1}
        images, before = (part.fetch(np.arange(len(part)))[0] for part in (data.train, clean.train))
        assert bool(((images != before).flatten(1).any(1) == changed).all())
        assert bool((data.test.labels == clean.test.labels).all())
