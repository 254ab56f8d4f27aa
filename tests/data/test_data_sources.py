"""Names, Parquet files, image folders, IDX files and Tiny ImageNet's own layout become the same thing."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shallowdeep.data.sources import registry
from shallowdeep.data.sources.hub import HUB_DATASETS
from shallowdeep.data.sources.registry import DATASET_NAMES, describe_datasets, open_source, source_directory
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import BadImageError, DataError, UnknownNameError

MEMORY = 2**20


def png(shade: int, size: int = 6) -> bytes:
    """Return a grey image of one shade."""
    stream = BytesIO()
    Image.new("RGB", (size, size), (shade, shade, shade)).save(stream, "PNG")
    return stream.getvalue()


def write_images(folder: Path, shades: list[int]) -> None:
    """Write one image per shade."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, shade in enumerate(shades):
        (folder / f"{index}.png").write_bytes(png(shade))


def write_parquet(
    path: Path,
    labels: list[Any],
    *,
    names: list[str] | None = None,
    image: str = "image",
    label: str = "label",
    contents: list[bytes | None] | None = None,
    rows_per_group: int = 3,
) -> None:
    """Write a file in the Hugging Face layout; the shade of an image is ten times its row."""
    contents = contents or [png(10 * row) for row in range(len(labels))]
    table = pa.table(
        {
            label: pa.array(labels),
            image: pa.array([None if content is None else {"bytes": content, "path": None} for content in contents]),
        }
    )
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)


def shades(part: Part | None) -> list[int]:
    """Return the shade of every image of a part."""
    assert part is not None
    return [int(part.images.decode(index, 6)[0, 0, 0]) for index in range(len(part.images))]


# Parquet


def test_parquet_with_declared_names(tmp_path: Path) -> None:
    """Columns and class names come from the metadata; files of a part follow one another."""
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1, 2, 1], names=["a", "b", "c"], image="img")
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [2, 0], names=["a", "b", "c"], image="img")
    write_parquet(tmp_path / "test-00000.parquet", [1, 1], names=["a", "b", "c"], image="img")
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("a", "b", "c")
    assert source.train.labels.tolist() == [0, 1, 2, 1, 2, 0]
    assert shades(source.train) == [0, 10, 20, 30, 0, 10]
    assert source.train.images.name(5) == "row 1 of train-00001-of-00002.parquet"
    assert source.test is not None
    assert source.test.labels.tolist() == [1, 1]
    assert source.train.images.dimensions(0) == (6, 6)


def test_parquet_without_names(tmp_path: Path) -> None:
    """Usual column names are found, classes are numbered, and validation serves as test."""
    write_parquet(tmp_path / "data" / "train-0.parquet", [0, 2, 1], image="img", label="fine_label")
    write_parquet(tmp_path / "data" / "validation-0.parquet", [2], image="img", label="fine_label")
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("0", "1", "2")
    assert source.test is not None
    assert source.test.labels.tolist() == [2]


def test_a_calibration_part_is_one_of_its_own(tmp_path: Path) -> None:
    """By the names of the files, beside training and test."""
    write_parquet(tmp_path / "train-0.parquet", [0, 1, 1])
    write_parquet(tmp_path / "test-0.parquet", [1])
    write_parquet(tmp_path / "calibration-0.parquet", [0, 1])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.calibration is not None
    assert source.test is not None
    assert [len(part.labels) for part in (source.train, source.test, source.calibration)] == [3, 1, 2]
    assert source.calibration.labels.tolist() == [0, 1]


def test_a_test_part_is_preferred_to_a_validation_part(tmp_path: Path) -> None:
    """And folders may name the parts."""
    write_parquet(tmp_path / "train" / "0000.parquet", [0, 1])
    write_parquet(tmp_path / "validation" / "0000.parquet", [0, 0, 0])
    write_parquet(tmp_path / "test" / "0000.parquet", [1])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is not None
    assert source.test.labels.tolist() == [1]


@pytest.mark.parametrize("memory", [MEMORY, 200, 0])
def test_encoded_images_leave_memory_when_they_exceed_their_share(tmp_path: Path, memory: int) -> None:
    """What is read back is the same, in any order."""
    write_parquet(tmp_path / "train.parquet", [0, 1] * 6)
    part = open_source(tmp_path, encoded_memory=memory).train
    assert [int(part.images.decode(index, 6)[0, 0, 0]) for index in (11, 0, 5)] == [110, 0, 50]
    assert part.images.on_disk == (memory < MEMORY)  # type: ignore[attr-defined] # of this store only


def test_plain_binary_columns_and_missing_bytes(tmp_path: Path) -> None:
    """A null image is a bad image, named by its row."""
    write_parquet(tmp_path / "train.parquet", [0, 1, 0, 1], contents=[png(1), None, png(3), b"junk"])
    images = open_source(tmp_path, encoded_memory=MEMORY).train.images
    for row in (1, 3):
        with pytest.raises(BadImageError, match=rf"row {row} of train\.parquet"):
            images.decode(row, 6)
    pq.write_table(pa.table({"image": [png(7), png(8)], "label": [0, 1]}), tmp_path / "train.parquet")
    assert shades(open_source(tmp_path, encoded_memory=MEMORY).train) == [7, 8]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 5], ["a", "b"], r"Expected labels in \[0, 1\], got 5 at row 2 of train\.parquet"),
        ([0, -1, 1], ["a", "b"], r"Expected labels in \[0, 1\], got -1 at row 1 of train\.parquet"),
        ([0, -1, 1], None, r"got -1 at row 1 of train\.parquet"),
        ([0, None, 1], ["a", "b"], r"Expected a label, got none at row 1 of train\.parquet"),
        ([0, 0, 0], None, r"Expected at least 2 classes, got 1"),
        ([0.0, 1.0, 2.0], None, r"Expected integers or names in column label of train\.parquet, got double"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, labels: list[Any], names: list[str] | None, message: str) -> None:
    """The value and its row, in one line."""
    write_parquet(tmp_path / "train.parquet", labels, names=names)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_test_labels_beyond_the_training_classes_are_refused(tmp_path: Path) -> None:
    """Without names, training defines the classes; with names, both parts declare the same."""
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "test.parquet", [0, 2])
    with pytest.raises(DataError, match=r"got 2 at row 1 of test\.parquet"):
        open_source(tmp_path, encoded_memory=MEMORY)
    write_parquet(tmp_path / "train.parquet", [0, 1], names=["a", "b"])
    write_parquet(tmp_path / "test.parquet", [0, 1], names=["b", "a"])
    with pytest.raises(DataError, match=r"Expected the classes of train\.parquet in test\.parquet"):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_files_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    """Damaged files, other columns, files that differ, only a test part, two datasets at once."""
    (tmp_path / "train.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"Expected a Parquet file, got .*train\.parquet"):
        open_source(tmp_path, encoded_memory=MEMORY)
    pq.write_table(pa.table({"x": [1], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"Expected image and label columns in train\.parquet, got x, label"):
        open_source(tmp_path, encoded_memory=MEMORY)
    pq.write_table(pa.table({"image": [1.5], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(
        DataError, match=r"Expected encoded images or file names in column image of train\.parquet, got double"
    ):
        open_source(tmp_path, encoded_memory=MEMORY)
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "train-1.parquet", [0, 1], image="img")
    with pytest.raises(DataError, match="Expected the columns and classes of"):
        open_source(tmp_path, encoded_memory=MEMORY)
    (tmp_path / "train-1.parquet").unlink()
    write_parquet(tmp_path / "other" / "train.parquet", [0, 1])
    with pytest.raises(DataError, match="got 2 folders"):
        open_source(tmp_path, encoded_memory=MEMORY)
    (tmp_path / "train.parquet").unlink()
    (tmp_path / "other" / "train.parquet").rename(tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"Expected train-\*\.parquet under .*, got test only"):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_labels_may_be_names(tmp_path: Path) -> None:
    """Text, or a dictionary of it as pandas writes categories; the alphabet numbers them."""
    write_parquet(tmp_path / "train-0.parquet", ["dog", "cat", "emu"])
    write_parquet(tmp_path / "test-0.parquet", ["emu", "dog"])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert (source.classes, source.train.labels.tolist()) == (("cat", "dog", "emu"), [1, 0, 2])
    assert source.test is not None
    assert source.test.labels.tolist() == [2, 1]
    table = pq.read_table(tmp_path / "train-0.parquet")
    table = table.set_column(0, "label", table.column("label").dictionary_encode())
    pq.write_table(table, tmp_path / "train-0.parquet")
    assert open_source(tmp_path, encoded_memory=MEMORY).train.labels.tolist() == [1, 0, 2]
    write_parquet(tmp_path / "test-0.parquet", ["emu", "yak"])
    with pytest.raises(DataError, match=r"one of the classes cat, dog, emu, got 'yak' at row 1 of test-0\.parquet"):
        open_source(tmp_path, encoded_memory=MEMORY)


@pytest.mark.parametrize("hidden", [[-1, -1], [None, None], "no column"])
def test_hidden_test_labels_give_way_to_the_validation_part(tmp_path: Path, hidden: list[int | None] | str) -> None:
    """As challenges ship them; without a validation part images are held out."""
    write_parquet(tmp_path / "train-0.parquet", [0, 1], names=["a", "b"])
    if isinstance(hidden, str):
        pq.write_table(pa.table({"image": [png(1)]}), tmp_path / "test-0.parquet")
    else:
        write_parquet(tmp_path / "test-0.parquet", hidden, names=["a", "b"])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is None
    assert source.notes == (
        "The labels of the test part are hidden: images to test on are held out of the training part",
    )
    write_parquet(tmp_path / "validation-0.parquet", [1, 0, 1], names=["a", "b"])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is not None
    assert source.test.labels.tolist() == [1, 0, 1]
    assert source.notes == ("The labels of the test part are hidden: the validation part is tested on",)


@pytest.mark.parametrize("kind", ["struct", "text"])
def test_parquet_files_may_name_image_files(tmp_path: Path, kind: str) -> None:
    """Beside the Parquet file, under the root, or anywhere; a file that is not there is a bad image."""
    write_images(tmp_path / "data" / "images", [1, 2])
    write_images(tmp_path / "others", [3])
    names = ["images/0.png", "images/1.png", "others/0.png", str(tmp_path / "others" / "0.png"), "images/9.png"]
    column = [{"bytes": None, "path": name} for name in names] if kind == "struct" else names
    image = pa.array(column, pa.struct({"bytes": pa.binary(), "path": pa.string()}) if kind == "struct" else None)
    table = pa.table({"image" if kind == "struct" else "file_name": image, "label": [0, 1, 0, 1, 0]})
    pq.write_table(table, tmp_path / "data" / "train-0.parquet")
    images = open_source(tmp_path, encoded_memory=MEMORY).train.images
    assert [int(images.decode(place, 6)[0, 0, 0]) for place in range(4)] == [1, 2, 3, 3]
    with pytest.raises(BadImageError, match=r"images/9\.png \(No such file"):
        images.decode(4, 6)


# Image folders


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "TEST"), ("Train", "Validation"), ("training", "valid"), ("train", "dev")],
)
def test_parts_have_many_names(tmp_path: Path, train: str, test: str) -> None:
    """In any case; they are no classes."""
    for part, shades_ in ((train, [1, 2]), (test, [3])):
        for name in ("a", "b"):
            write_images(tmp_path / part / name, shades_)
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert (source.classes, source.notes) == (("a", "b"), ())
    assert source.test is not None
    assert (len(source.train.labels), len(source.test.labels)) == (4, 2)


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    """Which of them is meant?"""
    for folder in ("train/a", "train/b", "Training/a"):
        write_images(tmp_path / folder, [1])
    with pytest.raises(DataError, match=r"Expected one folder for the train part, got .*Training and .*train"):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_links_in_a_circle_and_to_the_same_file_count_once(tmp_path: Path) -> None:
    """A class may be a link itself."""
    write_images(tmp_path / "elsewhere" / "cats", [1, 2])
    write_images(tmp_path / "data" / "train" / "dog", [3])
    (tmp_path / "data" / "train" / "cat").symlink_to(tmp_path / "elsewhere" / "cats")
    (tmp_path / "data" / "train" / "dog" / "up").symlink_to("../..")
    (tmp_path / "data" / "train" / "dog" / "same.png").symlink_to("0.png")
    (tmp_path / "elsewhere" / "cats" / "again").symlink_to(".")
    source = open_source(tmp_path / "data", encoded_memory=MEMORY)
    assert (source.classes, source.train.labels.tolist()) == (("cat", "dog"), [0, 0, 1])


def test_what_systems_leave_in_folders_is_ignored(tmp_path: Path) -> None:
    """`__MACOSX` of a ZIP file, and a class folder without images, which is told."""
    for folder in ("train/a", "train/b", "train/__MACOSX", "__MACOSX/train/a"):
        write_images(tmp_path / folder, [1])
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "test" / "c").mkdir(parents=True)
    write_images(tmp_path / "test" / "a", [1])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("a", "b")
    assert source.notes == (f"No images in {tmp_path}/train/c: left out",)


def test_test_images_in_no_class(tmp_path: Path) -> None:
    """All of them: their labels are hidden. Some: they are left out."""
    for folder in ("train/a", "train/b"):
        write_images(tmp_path / folder, [1, 2])
    write_images(tmp_path / "test", [3, 4])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is None
    assert source.notes[0].startswith("The labels of the test part are hidden")
    write_images(tmp_path / "test" / "b", [5])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is not None
    assert source.test.labels.tolist() == [1]
    assert source.notes == (f"2 images lie in {tmp_path}/test and in no class: left out",)


def test_an_image_folder_with_a_test_part(tmp_path: Path) -> None:
    """Classes are sorted; hidden files and other files do not count; sub-folders do."""
    write_images(tmp_path / "train" / "dog", [1, 2])
    write_images(tmp_path / "train" / "cat" / "more", [3])
    write_images(tmp_path / "test" / "dog", [4])
    write_images(tmp_path / "train" / ".hidden", [5])
    (tmp_path / "train" / "dog" / ".junk.png").write_bytes(b"")
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no image")
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("cat", "dog")
    assert source.train.labels.tolist() == [0, 1, 1]
    assert shades(source.train) == [3, 1, 2]
    assert source.test is not None
    assert source.test.labels.tolist() == [1]
    assert source.train.images.name(0).endswith("train/cat/more/0.png")


def test_a_folder_of_classes_alone(tmp_path: Path) -> None:
    """No train folder, no test part."""
    write_images(tmp_path / "a", [1])
    write_images(tmp_path / "b", [2])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is None
    assert source.augmentation == "standard"
    assert source.name == tmp_path.name


def test_calibration_images_beside_classes(tmp_path: Path) -> None:
    """A folder `calibration` with classes in it is no class itself; with images in it, or other folders, it is one."""
    for name in ("a", "b", "calibration"):
        write_images(tmp_path / name, [1])
    assert open_source(tmp_path, encoded_memory=MEMORY).classes == ("a", "b", "calibration")
    write_images(tmp_path / "calibration" / "more", [2])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert (source.classes, source.calibration) == (("a", "b", "calibration"), None)
    shutil.rmtree(tmp_path / "calibration")
    write_images(tmp_path / "calibration" / "b", [3, 4])
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert (source.classes, source.train.labels.tolist(), source.test) == (("a", "b"), [0, 1], None)
    assert source.calibration is not None
    assert (source.calibration.labels.tolist(), shades(source.calibration)) == ([1, 1], [3, 4])
    write_images(tmp_path / "calibration" / "c", [5])
    with pytest.raises(DataError, match=r"Expected the classes of .* in .*calibration, got 'c' besides"):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_validation_folders_serve_as_test(tmp_path: Path) -> None:
    """Where there is no test folder."""
    write_images(tmp_path / "train" / "a", [1])
    write_images(tmp_path / "train" / "b", [2])
    write_images(tmp_path / "val" / "b", [3, 4])
    test = open_source(tmp_path, encoded_memory=MEMORY).test
    assert test is not None
    assert test.labels.tolist() == [1, 1]


def test_folders_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    """Empty, one class, a class without images, a test class that training lacks."""
    with pytest.raises(DataError, match=r"Expected Parquet files, IDX files, train/CLASS/\* or CLASS/\* images under"):
        open_source(tmp_path, encoded_memory=MEMORY)
    write_images(tmp_path / "train" / "a", [1])
    with pytest.raises(DataError, match=r"Expected at least 2 classes, got 1 in .* \(a\)"):
        open_source(tmp_path, encoded_memory=MEMORY)
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(DataError, match=r"Expected images in .*train/b, got none"):
        open_source(tmp_path, encoded_memory=MEMORY)
    write_images(tmp_path / "train" / "b", [1])
    write_images(tmp_path / "test" / "c", [1])
    with pytest.raises(DataError, match="got 'c' besides"):
        open_source(tmp_path, encoded_memory=MEMORY)


# IDX files


def idx(array: np.ndarray) -> bytes:
    """Return the bytes of an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: list[int], *, packed: bool) -> None:
    """Write a part's two files."""
    for stem, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", np.array(labels))):
        content = idx(array)
        (folder / (stem + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path: Path, packed: bool) -> None:
    """28x28 images are padded with black to 32x32."""
    images = np.random.default_rng(0).integers(1, 256, (4, 28, 28), dtype=np.uint8)
    write_idx(tmp_path, "train", images, [0, 1, 2, 1], packed=packed)
    write_idx(tmp_path, "t10k", images[:2], [2, 0], packed=packed)
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("0", "1", "2")
    pixels = source.train.images.decode(1, 32)
    assert (pixels[2:30, 2:30] == images[1][..., None]).all()
    assert pixels.sum() == 3 * images[1].sum()
    assert source.test is not None
    assert source.test.labels.tolist() == [2, 0]


def test_idx_files_of_other_sizes_stay_as_they_are(tmp_path: Path) -> None:
    """Only MNIST's size is padded; a missing test part is no fault."""
    write_idx(tmp_path, "train", np.full((2, 10, 10), 9), [0, 1], packed=False)
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.test is None
    assert (source.train.images.decode(0, 10) == 9).all()


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    """Truncated, not gzip, another type, lengths that differ, a part that is half there."""
    images = np.zeros((2, 4, 4))
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(tmp_path, "train", images, [0, 1, 1], packed=False)
    with pytest.raises(DataError, match=r"got \(2, 4, 4\) in train-images-idx3-ubyte and \(3,\)"):
        open_source(tmp_path, encoded_memory=MEMORY)
    path.write_bytes(idx(images)[:-5])
    with pytest.raises(DataError, match=r"Expected 32 bytes after the header of .*, got 27"):
        open_source(tmp_path, encoded_memory=MEMORY)
    path.write_bytes(b"\0\0\x0d\3")
    with pytest.raises(DataError, match="Expected an IDX file"):
        open_source(tmp_path, encoded_memory=MEMORY)
    path.write_bytes(struct.pack(">HBB3I", 0, 13, 3, 2, 4, 4))
    with pytest.raises(DataError, match=r"unsigned bytes, got .* with type 0x0d"):
        open_source(tmp_path, encoded_memory=MEMORY)
    path.rename(tmp_path / "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=r"Expected an IDX file, got .*gz"):
        open_source(tmp_path, encoded_memory=MEMORY)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="got one"):
        open_source(tmp_path, encoded_memory=MEMORY)


def test_fashion_mnist_comes_from_the_debian_package_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is needed where the package is installed."""
    write_idx(tmp_path, "train", np.zeros((20, 28, 28)), list(range(10)) * 2, packed=True)
    monkeypatch.setattr(registry, "DEBIAN_FASHION_MNIST", tmp_path)
    source = open_source("fashion-mnist", encoded_memory=MEMORY)
    assert source.classes[0] == "T-shirt/top"
    assert source.augmentation == "fashion"
    assert {line.name: line.offline for line in describe_datasets()}["fashion-mnist"]


# Tiny ImageNet


def write_tiny_imagenet(root: Path) -> None:
    """Write two training images of each of three classes, and three validation images."""
    wnids = ["n03", "n01", "n02"]
    for number, wnid in enumerate(wnids):
        write_images(root / "train" / wnid / "images", [number, number])
    write_images(root / "val" / "images", [7, 8, 9])
    (root / "wnids.txt").write_text("\n".join(wnids) + "\n")
    (root / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane, machine\nn03\tgoldfish, Carassius auratus\n")
    (root / "val" / "val_annotations.txt").write_text("0.png\tn02\t0\t0\t9\t9\n2.png\tn03\t0\t0\t9\t9\n")


def test_tiny_imagenet_as_its_authors_ship_it(tmp_path: Path) -> None:
    """Classes in the order of wnids.txt; ambiguous words give way to ids; validation is the test part."""
    write_tiny_imagenet(tmp_path)
    source = open_source(tmp_path, encoded_memory=MEMORY)
    assert source.classes == ("goldfish", "n01", "n02")
    assert source.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert source.test is not None
    assert source.test.labels.tolist() == [2, 0]
    assert shades(source.test) == [7, 9]
    assert source.augmentation == "tiny-imagenet"


def test_a_damaged_tiny_imagenet_is_refused(tmp_path: Path) -> None:
    """Unknown classes and missing tables are named."""
    write_tiny_imagenet(tmp_path)
    table = tmp_path / "val" / "val_annotations.txt"
    table.write_text("0.png\tn02\n1.png\tn99\n")
    with pytest.raises(DataError, match=r"on line 2 of .*val_annotations\.txt, got 'n99'"):
        open_source(tmp_path, encoded_memory=MEMORY)
    table.unlink()
    with pytest.raises(DataError, match=r"Expected val_annotations\.txt"):
        open_source(tmp_path, encoded_memory=MEMORY)


# Names


def test_mnist5k_is_at_hand() -> None:
    """5,000 digits, 500 of each class, padded to 32x32."""
    source = open_source("mnist5k", encoded_memory=MEMORY)
    assert np.bincount(source.train.labels).tolist() == [500] * 10
    pixels = source.train.images.decode(0, 32)
    assert pixels[:2].max() == pixels[:, -2:].max() == 0
    assert pixels.max() == 255
    assert source.test is None
    assert source.augmentation == "digits"


def test_an_unknown_name_is_told_with_near_ones_and_that_paths_work(tmp_path: Path) -> None:
    """A file is no dataset either."""
    with pytest.raises(DataError, match=r"got .*/no/such/cifar10, which does not exist"):
        open_source(tmp_path / "no" / "such" / "cifar10", encoded_memory=0)
    with pytest.raises(UnknownNameError, match=r"got 'cifar1'; nearest: cifar1.*path of a local directory"):
        open_source("cifar1", encoded_memory=MEMORY)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="got the file"):
        open_source(tmp_path / "file", encoded_memory=MEMORY)


@pytest.mark.parametrize(
    "name", ["./cifar1", "cifar1/", "nowhere/cifar10", ".cifar10", "../no-such", "~/no-such", "~nobody-here/x"]
)
def test_what_can_only_be_a_path_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With a separator, or beginning with a dot or a tilde: no names of datasets, no failure."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"got {re.escape(name)}, which does not exist"):
        open_source(name, encoded_memory=MEMORY)


def test_an_empty_name_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though Python takes an empty path for it."""
    write_parquet(tmp_path / "train.parquet", [0, 1])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="got ''"):
        open_source("", encoded_memory=MEMORY)
    assert open_source(".", encoded_memory=MEMORY).name == tmp_path.name


def test_names_and_paths_are_told_apart_without_reading(tmp_path: Path) -> None:
    """A name has no directory, an empty directory is one."""
    assert [source_directory(name) for name in DATASET_NAMES] == [None] * len(DATASET_NAMES)
    assert source_directory(tmp_path) == source_directory(str(tmp_path)) == tmp_path


def test_an_unreachable_hub_says_what_was_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what may be given instead."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"Expected uoft-cs/cifar100 .*no cached copy\. A local directory"):
        open_source("cifar100", encoded_memory=MEMORY)


def test_hub_tables_are_read_like_local_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the hub replaced by a table in memory."""
    import datasets  # noqa: PLC0415 - seconds, for this test only

    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=["x", "y"])})
    rows = {"img": [{"bytes": png(10 * row), "path": None} for row in range(4)], "fine_label": [0, 1, 1, 0]}
    table = datasets.Dataset.from_dict(rows, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": table, "test": table})
    monkeypatch.setattr("shallowdeep.data.sources.hub._hub_answers", lambda: True)
    source = open_source("cifar100", encoded_memory=MEMORY)
    assert source.classes == ("x", "y")
    assert source.train.labels.tolist() == [0, 1, 1, 0]
    assert shades(source.test) == [0, 10, 20, 30]
    assert source.train.images.dimensions(1) == (6, 6)
    assert source.train.images.name(2) == "row 2 of cifar100 train"


def test_every_name_is_described() -> None:
    """The `datasets` command shows what `--data` takes."""
    assert tuple(line.name for line in describe_datasets()) == DATASET_NAMES
    assert set(HUB_DATASETS) < set(DATASET_NAMES)


@pytest.mark.parametrize(
    ("folder", "preset"),
    [("cifar10", "cifar"), ("tinyimagenet40", "tiny-imagenet"), ("my-fashion_MNIST", "fashion"), ("birds", "standard")],
)
def test_the_directory_name_suggests_the_augmentation(tmp_path: Path, folder: str, preset: str) -> None:
    """A local copy of a known dataset is treated like the dataset."""
    write_parquet(tmp_path / folder / "train.parquet", [0, 1])
    assert open_source(tmp_path / folder, encoded_memory=MEMORY).augmentation == preset


def test_an_empty_part_is_refused() -> None:
    """A part without images is no part."""
    store = ArrayStore(np.zeros((0, 2, 2), dtype=np.uint8), "nothing")
    with pytest.raises(DataError, match="Expected training images in nothing, got none"):
        Source("nothing", ("a", "b"), Part(store, np.zeros(0, dtype=np.int64)), None)
