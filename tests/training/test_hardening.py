"""An attack handed to training as a callable: what it changes is what heads are trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tests.training.test_feature_cache import two_classifiers
from torch import Tensor

from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.progress import SILENT
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.cached_heads import HeadCaching
from shallowdeep.training.caching import Caching
from shallowdeep.training.hyperparameters import HEADS, hyperparameters
from shallowdeep.training.recipes import Phase
from shallowdeep.training.run import Training, train
from shallowdeep.training.sources import SplitSource
from shallowdeep.training.tasks import Attack, NetworkTask

SETTINGS = hyperparameters(HEADS, "plain")


@pytest.fixture
def data(workplace: Path) -> DataSplits:
    """The tiny images: 54 to train on."""
    return load_dataset(workplace / "images", image_size=16)


def darkened(network: ShallowDeepNetwork, images: Tensor) -> Tensor:
    """An attack that any test can tell."""
    del network
    return images - 100


def test_the_first_half_of_every_batch_is_changed_and_no_other(data: DataSplits) -> None:
    """Labels stay where they are."""

    def batches(attack: Attack | None) -> list[tuple[Tensor, Tensor]]:
        task = NetworkTask(
            two_classifiers(), SplitSource(data, 0), replace(SETTINGS, batch_size=9),
            weights_at=lambda _: (1.0, 1.0, 0.0), precision="fp32", attack=attack,
        )  # fmt: skip
        return [(images, labels) for images, labels in task.batches(0, 0, 1) if isinstance(images, Tensor)]

    pairs = list(zip(batches(None), batches(darkened), strict=True))
    assert len(pairs) == 6
    for (images, labels), (attacked, their_labels) in pairs:
        assert torch.equal(labels, their_labels)
        torch.testing.assert_close(attacked[:4], images[:4] - 100)
        assert torch.equal(attacked[4:], images[4:])


def test_training_calls_the_attack_at_every_step_and_caches_nothing(data: DataSplits, tmp_path: Path) -> None:
    """Heads differ from those trained without, the frozen backbone does not."""

    def trained(name: str, attack: Attack | None) -> dict[str, Tensor]:
        network = two_classifiers()
        network.preprocessing, network.classes = data.preprocessing, data.classes
        settings = replace(SETTINGS, epochs=2, batch_size=9)
        (tmp_path / name).mkdir()
        caching = HeadCaching(data, Caching(tmp_path / name, settings.views, 2**30, 0, "fp32"))
        training = Training(
            network, SplitSource(data, 0), tmp_path / name, 0, "fp32", Accelerator(cpu=True), SILENT, caching, attack
        )
        train(training, [Phase("ic-only", HEADS, settings)])
        return network.state_dict()

    seen: list[int] = []

    def counted(network: ShallowDeepNetwork, images: Tensor) -> Tensor:
        seen.append(len(images))
        assert not list((tmp_path / "attacked").glob("features-*"))
        return darkened(network, images)

    plain, attacked = trained("plain", None), trained("attacked", counted)
    assert seen == [4] * 12
    moved = {name for name, value in plain.items() if not torch.equal(value, attacked[name])}
    assert moved
    assert all("internal_classifiers" in name for name in moved)
