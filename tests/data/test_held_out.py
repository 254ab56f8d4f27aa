"""Held-out images of one's own: which are taken, how they are cut, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import write_images

from shallowdeep.data.held_out import HeldOut, load_held_out, shared_images
from shallowdeep.data.load import load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import DataError, UnknownNameError

PREPROCESSING = Preprocessing(8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def held_out(path: Path, classes: tuple[str, ...] = ("x", "azure", "brick", "coral"), seed: int = 0) -> HeldOut:
    """What is taken from a folder for a network of these classes."""
    return load_held_out(path, classes=classes, preprocessing=PREPROCESSING, seed=seed)


def test_a_folder_of_classes_is_cut_by_seed(tmp_path: Path) -> None:
    """A third is tune; labels are the network's, which may have a class without images; another seed cuts otherwise."""
    write_images(tmp_path, "mine", 30)
    found = held_out(tmp_path / "mine")
    names = sorted(folder.name for folder in (tmp_path / "mine").iterdir())
    assert (len(found.tune), len(found.certify), found.name) == (10, 20, "mine")
    assert not set(found.tune.positions) & set(found.certify.positions)
    for split in (found.tune, found.certify):
        for place, label in enumerate(split.labels.tolist()):
            assert Path(split.image_name(place)).parent.name == ("x", *names)[label]
    images, labels = found.certify.fetch(np.arange(20))
    assert (images.shape, labels.shape) == ((20, 3, 8, 8), (20,))
    assert found.fingerprint == held_out(tmp_path / "mine").fingerprint
    assert found.fingerprint != held_out(tmp_path / "mine", seed=1).fingerprint


def test_of_a_dataset_the_calibration_part_is_taken(tmp_path: Path) -> None:
    """From `calibration/` beside training and test images; without it, such a dataset is refused."""
    for part in ("train", "test", "calibration"):
        write_images(tmp_path / "all", part, 12)
    found = held_out(tmp_path / "all")
    assert all("calibration" in found.certify.image_name(place) for place in range(len(found.certify)))
    assert len(found.tune) + len(found.certify) == 12
    shutil.rmtree(tmp_path / "all" / "calibration")
    with pytest.raises(DataError, match=r"as CLASS/\* or calibration/CLASS/\*, got training and test images"):
        held_out(tmp_path / "all")


def test_unknown_classes_and_places_are_refused(tmp_path: Path) -> None:
    """A class that the network has not; a folder that is not there."""
    write_images(tmp_path, "mine", 12)
    with pytest.raises(DataError, match="Expected the network's classes"):
        held_out(tmp_path / "mine", classes=("x", "y"))
    with pytest.raises((DataError, UnknownNameError), match="nowhere"):
        held_out(tmp_path / "nowhere")


def test_training_images_are_found_among_them(tmp_path: Path) -> None:
    """Byte for byte, under another name."""
    write_images(tmp_path / "all", "train", 30)
    train = load_dataset(tmp_path / "all", image_size=8).train
    write_images(tmp_path, "mine", 12)
    folder = next(entry for entry in (tmp_path / "mine").iterdir())
    for image in folder.iterdir():
        image.unlink()  # the same generator wrote the training images
    (folder / "copy.png").write_bytes(Path(train.image_name(3)).read_bytes())
    for other in (tmp_path / "mine").iterdir():
        if other != folder:
            for number, image in enumerate(sorted(other.iterdir())):
                image.write_bytes(image.read_bytes() + bytes([number]))  # not the bytes of any other
    mine = held_out(tmp_path / "mine")
    assert [Path(name).name for name in shared_images((mine.tune, mine.certify), train)] == ["copy.png"]
