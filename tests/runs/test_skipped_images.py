"""Names of images that were left out, and their file."""

from __future__ import annotations

from pathlib import Path

from shallowdeep.artifacts import SKIPPED
from shallowdeep.data.load import load_dataset
from shallowdeep.runs.skipped_images import each_once, read_skipped, skipped_names, write_skipped


def test_splits_name_what_they_left_out(workplace: Path) -> None:
    """By split, once it was read; a split without bad images is not named."""
    bad = workplace / "images/test/azure/000.png"
    bad.write_bytes(b"no image")
    data = load_dataset("images", image_size=16, skip_bad_images=True)
    assert skipped_names(data.train, data.test) == {}
    data.train.prepare()
    data.test.prepare()
    found = skipped_names(data.train, data.test)
    assert found == {"test": ("images/test/azure/000.png",)}
    assert each_once({**found, "again": found["test"]}) == found["test"]


def test_the_file_keeps_every_split(tmp_path: Path) -> None:
    """Names of other splits stay, those of a split that was read again are replaced; nothing new writes nothing."""
    assert write_skipped(tmp_path, {}) == []
    assert read_skipped(tmp_path) == {}
    assert write_skipped(tmp_path, {"train": ("a b.png", "c.png"), "tune": ("d.png",)}) == [tmp_path / SKIPPED]
    assert write_skipped(tmp_path, {"tune": ("d.png",)}) == []
    assert write_skipped(tmp_path, {"tune": ("/there/d.png",), "test": ("e\udcff.png",)})
    assert read_skipped(tmp_path) == {
        "train": ("a b.png", "c.png"), "tune": ("/there/d.png",), "test": ("e\udcff.png",),
    }  # fmt: skip
    assert read_skipped(tmp_path, ("test",)) == {"test": ("e\udcff.png",)}
    assert (tmp_path / SKIPPED).read_bytes().splitlines()[0] == b"train\ta b.png"
