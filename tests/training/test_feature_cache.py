"""Cached features: the same gradients as through the frozen trunk, a size known beforehand, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import DataError, OutputError
from shallowdeep.progress import SILENT
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.feature_cache import CachePlan, FeatureCache, plan_cache, summarise_batches
from shallowdeep.training.losses import exit_loss
from shallowdeep.training.tasks import CachedHeadsTask, HeadBank


@pytest.fixture
def data(workplace: Path) -> DataSplits:
    """The tiny images: 54 to train on, 2 to tune on."""
    return load_dataset(workplace / "images", image_size=16)


@pytest.fixture
def network() -> ShallowDeepNetwork:
    """The network without cascades."""
    return two_classifiers()


def two_classifiers(*, cascaded: bool = False) -> ShallowDeepNetwork:
    """Two internal classifiers on (8, 16, 16) and (8, 8, 8) maps, the backbone frozen."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, padding=1), nn.ReLU()]
    backbone = nn.Sequential(
        *layers, nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return (
        convert(backbone, torch.zeros(1, 3, 16, 16), fractions=(0.4, 0.7), cascaded=cascaded).freeze_backbone().train()
    )


def filled(path: Path, network: ShallowDeepNetwork, data: DataSplits, views: int) -> FeatureCache:
    """A cache of the training split."""
    plan = plan_cache(network, (3, 16, 16), len(data.train), views=views, path=path, budget=2**30)
    assert plan is not None
    cache = FeatureCache(path, plan)
    cache.create()
    for view in range(views):
        bar = SILENT.start("", "", None)
        cache.fill_view(view, summarise_batches(network, augmented(data, view), "fp32", bar))
    return cache


def augmented(data: DataSplits, view: int) -> Batches:
    """One augmented view of the training split, in order."""
    return Batches(
        data.train, data.preprocessing, 20, augmentation=get_augmentation("standard", 16), seed=3, epoch=view
    )


def test_gradients_equal_those_through_the_frozen_trunk(
    network: ShallowDeepNetwork, data: DataSplits, tmp_path: Path
) -> None:
    """On the same views, loss and gradients agree to float16's rounding of the features, 2^-11."""
    cache = filled(tmp_path / "cache.bin", network, data, 2)
    heads = list(network.internal_classifiers.parameters())
    for view in (0, 1):
        images = torch.cat([images for images, _ in augmented(data, view)])
        through_trunk = exit_loss(network(images), data.train.labels, (1.0, 1.0, 0.0))
        expected = torch.autograd.grad(through_trunk, heads)
        cached = exit_loss(HeadBank(network)(cache.rows(view, torch.arange(54))), cache.labels, (1.0, 1.0))
        got = torch.autograd.grad(cached, heads)
        assert cached.item() == pytest.approx(through_trunk.item(), rel=2**-10)
        largest = max(float(gradient.abs().max()) for gradient in expected)
        for one, other in zip(expected, got, strict=True):
            torch.testing.assert_close(one, other, rtol=2**-9, atol=2**-10 * largest)


@pytest.mark.parametrize("cascaded", [False, True])
def test_gradients_are_exactly_those_through_the_trunk(data: DataSplits, *, cascaded: bool) -> None:
    """Without the rounding to float16, heads on summaries get the very gradients that the whole network gives them."""
    network = two_classifiers(cascaded=cascaded)
    heads = list(network.internal_classifiers.parameters())
    images = torch.cat([images for images, _ in augmented(data, 0)])
    expected = torch.autograd.grad(exit_loss(network(images), data.train.labels, (1.0, 1.0, 0.0)), heads)
    with torch.no_grad():
        outputs, _ = network.stage_outputs(images)
    summaries = [ic.summarise(x) for ic, x in zip(network.internal_classifiers, outputs, strict=True)]  # type: ignore[operator]  # an InternalClassifier
    got = torch.autograd.grad(exit_loss(HeadBank(network)(summaries), data.train.labels, (1.0, 1.0)), heads)
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_rows_are_the_summaries_to_half_precision(
    network: ShallowDeepNetwork, data: DataSplits, tmp_path: Path
) -> None:
    """A row is what the classifiers' parameter-free half gives, within 2^-11 of it, in any order asked for."""
    cache = filled(tmp_path / "cache.bin", network, data, 1)
    images = torch.cat([images for images, _ in augmented(data, 0)])
    network.eval()
    with torch.no_grad():
        outputs, _ = network.stage_outputs(images)
    picked = torch.tensor([53, 0, 7])
    for classifier, output, rows in zip(network.internal_classifiers, outputs, cache.rows(0, picked), strict=True):
        torch.testing.assert_close(rows, classifier.summarise(output)[picked], rtol=2**-11, atol=1e-6)  # type: ignore[operator]  # an InternalClassifier


def test_the_size_is_known_before_anything_is_written(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """Two maps pooled to 4x4, by maximum and mean, of 8 channels: 512 numbers, 1,024 bytes an image and view."""
    path = tmp_path / "cache.bin"
    plan = plan_cache(network, (3, 16, 16), 100, views=4, path=path, budget=2**30)
    assert plan is not None
    assert plan.width == 2 * 2 * 8 * 16
    assert plan.bytes == 4 * 100 * 512 * 2
    assert not path.exists()
    FeatureCache(path, plan).create()
    assert path.stat().st_size == plan.bytes


@pytest.mark.parametrize(("budget", "views"), [(409_600, 4), (409_599, 3), (102_400, 1), (102_399, None), (0, None)])
def test_a_small_budget_takes_fewer_views(
    network: ShallowDeepNetwork, tmp_path: Path, budget: int, views: int | None
) -> None:
    """Whole views that fit the budget are planned, or none."""
    plan = plan_cache(network, (3, 16, 16), 100, views=4, path=tmp_path / "cache.bin", budget=budget)
    assert (plan.views if plan else None) == views


def test_a_full_disk_takes_fewer_views(
    network: ShallowDeepNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine tenths of the free disk may be taken; a cache that is there already counts as free."""
    path = tmp_path / "cache.bin"
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 300_000}))
    plan = plan_cache(network, (3, 16, 16), 100, views=4, path=path, budget=2**30)
    assert plan is not None
    assert plan.views == 2
    path.write_bytes(bytes(200_000))
    again = plan_cache(network, (3, 16, 16), 100, views=4, path=path, budget=2**30)
    assert again is not None
    assert again.views == 4


def test_heads_with_a_convolution_are_not_cached(tmp_path: Path) -> None:
    """What trains before the pooling is no function of cached maps."""
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network = convert(backbone.append(nn.Linear(8, 3)), torch.zeros(1, 3, 16, 16), fractions=(0.4,), heads="conv")
    assert plan_cache(network, (3, 16, 16), 10, views=1, path=tmp_path / "cache.bin", budget=2**30) is None


def test_no_space_is_told_before_the_first_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is reserved at once, since a full disk behind a memory map would kill the process."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        FeatureCache(tmp_path / "cache.bin", CachePlan(((2, 4),), 10, 1)).create()
    assert not list(tmp_path.iterdir())


def test_images_that_were_left_out_leave_no_rows(tmp_path: Path) -> None:
    """Labels are those of the images that could be read; with none at all there is nothing to train on."""
    cache = FeatureCache(tmp_path / "cache.bin", CachePlan(((1, 2),), 4, 1))
    cache.create()
    cache.fill_view(0, [(np.array([[1, 2], [3, 4]], dtype=np.float16), torch.tensor([1, 0]))])
    assert cache.labels.tolist() == [1, 0]
    assert cache.rows(0, torch.tensor([1]))[0].tolist() == [[[3.0, 4.0]]]
    cache.remove()
    cache.create()
    cache.fill_view(0, [])
    with pytest.raises(DataError, match="at least one training image"):
        CachedHeadsTask(
            ShallowDeepNetwork.without_exits(nn.Linear(1, 1), 1), cache, cache, batch_size=2, seed=0, final_accuracy=0.5
        )


def test_a_cache_is_complete_only_for_what_it_was_made_of(tmp_path: Path) -> None:
    """Another fingerprint, or a marker half written, makes a cache anew."""
    cache = FeatureCache(tmp_path / "cache.bin", CachePlan(((1, 2),), 4, 1))
    assert not cache.complete("digits")
    cache.finish("digits")
    assert cache.complete("digits")
    assert not cache.complete("letters")
    (tmp_path / "cache.json").write_text('{"of": "dig')
    assert not cache.complete("digits")
    cache.remove()
    assert not list(tmp_path.iterdir())
