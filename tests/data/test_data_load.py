"""`load_dataset` cuts the same splits everywhere, measures what it must, and decodes nothing before its time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.recorder import Recorder

from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import BadImageError, ConfigurationError, DataError, UnknownNameError

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that writes an image folder of random images."""

    def make(name: str = "things", *, test: bool = False, per_class: int = 15, size: tuple[int, int] = (8, 8)) -> Path:
        random = np.random.default_rng(0)
        for part in ["train", *(["test"] if test else [])]:
            for label in ("a", "b"):
                folder = tmp_path / name / part / label
                folder.mkdir(parents=True)
                for index in range(per_class):
                    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{index:02}.png")
        return tmp_path / name

    return make


def everything(data: DataSplits) -> list[tuple[str, int]]:
    """Return every image of the four splits as (part, position)."""
    part = {"train": "train", "tune": "train", "certify": "train", "test": "test"}
    return [(part[name], int(place)) for name in part for place in data.split(name).positions]


def test_a_dataset_with_a_test_part_keeps_it(make_folder: MakeFolder) -> None:
    """The splits are disjoint and complete, and calibration is tune and certify together."""
    data = load_dataset(make_folder(test=True), image_size=8)
    assert sorted(everything(data)) == sorted([(part, at) for part in ("train", "test") for at in range(30)])
    assert [len(data.split(name)) for name in ("train", "tune", "certify", "test")] == [27, 1, 2, 30]
    both = sorted([*data.tune.positions, *data.certify.positions])
    assert data.calibration.positions.tolist() == both
    assert data.classes == ("a", "b")
    assert data.name == "things"
    for name in ("train", "tune", "certify", "test", "calibration"):
        split = data.split(name)
        assert split.name == name
        assert split.labels.tolist() == [int(place >= 15) for place in split.positions]
        assert split.labels.dtype == torch.int64


def test_without_a_test_part_one_is_held_out(make_folder: MakeFolder) -> None:
    """By seed, before calibration is cut from the rest."""
    root = make_folder()
    data = load_dataset(root, image_size=8, test_fraction=0.2)
    places = sorted(place for _, place in everything(data))
    assert places == list(range(30))
    assert np.bincount(data.test.labels).tolist() == [3, 3]
    assert load_dataset(root, image_size=8, seed=1).test.positions.tolist() != data.test.positions.tolist()


def test_the_fingerprint_follows_content_and_seed_not_the_name(make_folder: MakeFolder) -> None:
    """A run notices that its data changed."""
    one, same = make_folder("one"), make_folder("same")
    first = load_dataset(one, image_size=8)
    assert first.fingerprints.splits == load_dataset(same, image_size=4).fingerprints.splits
    assert first.fingerprints.splits != load_dataset(one, image_size=8, seed=1).fingerprints.splits
    (same / "train" / "b" / "00.png").unlink()
    assert first.fingerprints.splits != load_dataset(same, image_size=8).fingerprints.splits


def test_fetch_returns_the_decoded_images(make_folder: MakeFolder) -> None:
    """Pixel by pixel, in the order asked for, whether resident or streaming."""
    root = make_folder()
    files = sorted((root / "train").rglob("*.png"))
    for budget, resident in ((2**20, True), (30 * 3 * 64 - 1, False), (30 * 3 * 64, True)):
        data = load_dataset(root, image_size=8, memory_budget=budget)
        assert data.train.resident is resident
        images, labels = data.train.fetch(torch.tensor([5, 0, 5]))
        for row, index in enumerate((5, 0, 5)):
            place = int(data.train.positions[index])
            assert (images[row].permute(1, 2, 0).numpy() == np.asarray(Image.open(files[place]))).all()
            assert labels[row] == data.train.labels[index]
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert data.train.fetch([])[0].shape == (0, 3, 8, 8)


def test_the_normalisation_is_that_of_the_training_split(make_folder: MakeFolder) -> None:
    """To 4 decimals, and of no other split."""
    data = load_dataset(make_folder(), image_size=8)
    pixels = data.train.fetch(range(len(data.train)))[0].double() / 255
    assert data.preprocessing.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=5e-5)
    assert data.preprocessing.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=5e-5)


def test_a_constant_channel_can_still_be_normalised(tmp_path: Path) -> None:
    """A std of zero would make every input infinite."""
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(4):
            Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / label / f"{index}.png")
    assert load_dataset(tmp_path, image_size=4).preprocessing.std == (0.001, 0.001, 0.001)


@pytest.mark.parametrize(
    ("size", "chosen"), [((40, 30), 32), ((70, 60), 64), ((49, 200), 64), ((48, 48), 32), ((3, 3), 32)]
)
def test_the_size_nearest_the_images_is_chosen(make_folder: MakeFolder, size: tuple[int, int], chosen: int) -> None:
    """By the shorter side; the smaller of two as near."""
    assert load_dataset(make_folder(per_class=3, size=size), image_size=(64, 32)).preprocessing.size == chosen


def test_a_saved_preprocessing_is_used_as_it_is(make_folder: MakeFolder) -> None:
    """And the image size is not asked; nothing is decoded until an image is."""
    root = make_folder()
    for path in root.rglob("*.png"):
        path.write_bytes(b"broken")
    saved = Preprocessing(5, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    data = load_dataset(root, image_size=8, preprocessing=saved)
    assert data.preprocessing == saved
    assert data.train.size == 5
    with pytest.raises(BadImageError):
        data.train.fetch([0])


@pytest.mark.parametrize("budget", [0, 2**20])
def test_a_bad_image_is_named_or_skipped(make_folder: MakeFolder, budget: int) -> None:
    """Splits stay as they were; what is left out is recorded once."""
    root = make_folder()
    whole = load_dataset(root, image_size=8, memory_budget=budget)
    places = whole.train.positions
    bad = sorted((root / "train").rglob("*.png"))[int(places[4])]
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(BadImageError, match=bad.name):
        load_dataset(root, image_size=8, memory_budget=budget)
    data = load_dataset(root, image_size=8, memory_budget=budget, preprocessing=whole.preprocessing)
    with pytest.raises(BadImageError, match=f"{bad.name} "):
        data.train.fetch([3, 4])
    data = load_dataset(root, image_size=8, memory_budget=budget, skip_bad_images=True)
    assert data.fingerprints.splits == whole.fingerprints.splits
    fetched = data.train.fetch_kept([3, 4, 5])
    assert fetched.kept.tolist() == [0, 2]
    assert fetched.labels.tolist() == data.train.labels[[3, 5]].tolist()
    assert torch.equal(fetched.images, data.train.fetch([3, 5])[0])
    data.train.fetch([4])
    assert data.train.skipped == [str(bad)]
    assert data.test.skipped == []


def test_splits_of_one_part_share_their_images_and_report_progress(make_folder: MakeFolder) -> None:
    """The calibration split decodes nothing that tune and certify have decoded."""
    seen = Recorder()
    data = load_dataset(make_folder(), image_size=8, progress=seen)
    assert seen.bars == []
    data.tune.prepare()
    data.certify.prepare()
    data.calibration.prepare()
    data.train.fetch([0])
    data.train.fetch([1])
    assert [(bar.what, bar.done, bar.total) for bar in seen.bars] == [
        ("reading tune (images)", 1, 1),
        ("reading certify (images)", 1, 1),
        ("reading train (images)", 22, 22),
    ]
    assert all(bar.finished for bar in seen.bars)


def test_nonsense_is_refused(make_folder: MakeFolder) -> None:
    """One line each."""
    root = make_folder()
    with pytest.raises(ConfigurationError, match=r"Expected calibration fraction in \(0, 1\), got 1.3"):
        load_dataset(root, image_size=8, calibration_fraction=1.3)
    with pytest.raises(ConfigurationError, match=r"Expected test fraction in \(0, 1\), got 0"):
        load_dataset(root, image_size=8, test_fraction=0)
    for size in (0, (), (32, 0)):
        with pytest.raises(ConfigurationError, match="Expected image size of at least 1 pixel"):
            load_dataset(root, image_size=size)
    with pytest.raises(UnknownNameError, match="name of a split, got 'val'"):
        load_dataset(root, image_size=8).split("val")
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    for size in (8, (8, 16)):
        with pytest.raises(DataError, match="Expected readable training images, got none"):
            load_dataset(root, image_size=size, skip_bad_images=True)


@pytest.mark.parametrize("budget", [0, 2**30])
def test_the_readable_images_of_a_split_are_a_split(make_folder: MakeFolder, budget: int) -> None:
    """Whatever was skipped is not in it; where nothing is skipped it is the split itself."""
    root = make_folder(test=True)
    (root / "test" / "a" / "03.png").write_bytes(b"no image")
    data = load_dataset(root, image_size=8, memory_budget=budget, skip_bad_images=True)
    assert data.test.readable().positions.tolist() == [place for place in range(30) if place != 3]
    images, labels = data.test.readable().fetch(np.arange(29))
    assert (len(images), labels.tolist()) == (29, [0] * 14 + [1] * 15)
    plain = load_dataset(root, image_size=8, memory_budget=budget).train
    assert plain.readable() is plain


@pytest.mark.parametrize("budget", [0, 2**30])
def test_some_images_of_a_split_can_be_altered(make_folder: MakeFolder, budget: int) -> None:
    """Those chosen, once they are decoded; the split itself stays as it is, whether it is in memory or not."""
    split = load_dataset(make_folder(test=True), image_size=8, memory_budget=budget).test
    before, labels = split.fetch(np.arange(30))
    changed = split.altered([4, 7], lambda pixels: 255 - pixels, np.zeros(30, dtype=np.int64), name="negatives")
    after, relabelled = changed.fetch(np.arange(30))
    rows = (after != before).flatten(1).any(1)
    assert torch.nonzero(rows).flatten().tolist() == [4, 7]
    assert torch.equal(after[rows], 255 - before[rows])
    assert (changed.name, relabelled.tolist(), split.labels.tolist()) == ("negatives", [0] * 30, labels.tolist())
    assert torch.equal(split.fetch(np.arange(30))[0], before)


def test_a_calibration_part_of_its_own_leaves_training_whole(make_folder: MakeFolder) -> None:
    """`calibration/CLASS` is cut into tune and certify; the fraction has no effect; the fingerprint covers it."""
    folder = make_folder(test=True)
    before = load_dataset(folder, image_size=8)
    assert before.cut_from == 30
    shutil.copytree(folder / "test", folder / "calibration")
    data = load_dataset(folder, image_size=8, calibration_fraction=0.5)
    assert [len(data.split(name)) for name in ("train", "tune", "certify", "test", "calibration")] == [
        30,
        10,
        20,
        30,
        30,
    ]
    assert data.cut_from is None
    assert all("calibration" in data.tune.image_name(place) for place in range(10))
    assert not set(data.tune.positions) & set(data.certify.positions)
    assert data.fingerprints.splits != before.fingerprints.splits
    again = load_dataset(folder, image_size=8)
    assert again.fingerprints == data.fingerprints
    image = next((folder / "calibration" / "a").iterdir())
    Image.new("RGB", (8, 8)).save(image)
    assert load_dataset(folder, image_size=8).fingerprints.images != data.fingerprints.images
    (folder / "calibration" / "c").mkdir()
    with pytest.raises(DataError, match="got 'c' besides"):
        load_dataset(folder, image_size=8)
