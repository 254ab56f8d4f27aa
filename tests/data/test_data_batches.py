"""Batches depend on seed, epoch and step only: not on workers, devices or where the images lie."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.augmentation import AUGMENTATIONS, augment, draw
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import BadImageError, ConfigurationError

COUNT = 60
AUGMENTATION = AUGMENTATIONS["tiny-imagenet"]


def jpeg(seed: int, size: int) -> bytes:
    """Return a random image."""
    stream = BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size)).save(stream, "JPEG")
    return stream.getvalue()


def write(root: Path, *, count: int = COUNT, size: int = 16, bad: tuple[int, ...] = ()) -> Path:
    """Write a training file of random images; rows in `bad` are damaged."""
    contents = [b"bad" if row in bad else jpeg(row, size) for row in range(count)]
    table = pa.table(
        {"image": [{"bytes": content} for content in contents], "label": [row % 3 for row in range(count)]}
    )
    pq.write_table(table, root / "train.parquet", row_group_size=max(count // 3, 1))
    return root


@pytest.fixture
def resident(tmp_path: Path) -> DataSplits:
    """Return a small dataset that stays in memory."""
    return load_dataset(write(tmp_path), image_size=16)


@pytest.fixture
def streaming(tmp_path: Path) -> DataSplits:
    """Return the same dataset, decoded at every use, its encoded bytes on disk."""
    return load_dataset(write(tmp_path), image_size=16, memory_budget=1000)


def epoch(
    data: DataSplits,
    batch_size: int = 7,
    **options: Any,  # noqa: ANN401 - the keywords of Batches
) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of one epoch of the training split."""
    return list(Batches(data.train, data.preprocessing, batch_size, **options))


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    """Tell whether two epochs are equal bit by bit."""
    return len(one) == len(other) and all(
        torch.equal(a, b) for pair, twin in zip(one, other, strict=True) for a, b in zip(pair, twin, strict=True)
    )


def test_an_epoch_holds_every_image_once_in_order(resident: DataSplits) -> None:
    """Without shuffling the order is the split's, and the last batch is short."""
    batches = epoch(resident)
    images, labels = resident.train.fetch(range(len(resident.train)))
    assert torch.equal(torch.cat([batch for batch, _ in batches]), resident.preprocessing.normalize(images))
    assert torch.equal(torch.cat([batch for _, batch in batches]), labels)
    assert [len(batch) for _, batch in batches] == [7] * 6 + [1]
    assert len(Batches(resident.train, resident.preprocessing, 7)) == 7
    assert batches[0][0].is_contiguous(memory_format=torch.channels_last)
    assert epoch(resident, channels_last=False)[0][0].is_contiguous()


def test_shuffling_permutes_by_seed_and_epoch(resident: DataSplits) -> None:
    """Every epoch has its own order, and the same again for the same seed."""
    first = epoch(resident, shuffle=True, seed=3, epoch=0)
    assert same(first, epoch(resident, shuffle=True, seed=3, epoch=0))
    assert not same(first, epoch(resident, shuffle=True, seed=3, epoch=1))
    assert not same(first, epoch(resident, shuffle=True, seed=4, epoch=0))
    flat = torch.cat([batch for batch, _ in first]).flatten(1)
    plain = torch.cat([batch for batch, _ in epoch(resident)]).flatten(1)
    assert sorted(flat.sum(1).tolist()) == pytest.approx(sorted(plain.sum(1).tolist()))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streaming_gives_the_batches_of_the_resident_twin(
    resident: DataSplits, streaming: DataSplits, workers: int
) -> None:
    """Bit by bit, with any number of workers, and without touching the global random stream."""
    options: dict[str, Any] = {"shuffle": True, "seed": 5, "epoch": 2, "augmentation": AUGMENTATION}
    assert resident.train.resident
    assert not streaming.train.resident
    before = torch.random.get_rng_state()
    assert same(epoch(resident, **options), epoch(streaming, workers=workers, **options))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("drop_last", [True, False])
def test_devices_share_every_global_batch(resident: DataSplits, drop_last: bool) -> None:
    """Joined in the order of ranks, their shares are the batch one device would see."""
    options: dict[str, Any] = {"shuffle": True, "augmentation": AUGMENTATION, "drop_last": drop_last}
    whole = epoch(resident, 8, **options)
    shares = [epoch(resident, 8, rank=rank, world_size=4, **options) for rank in range(4)]
    assert {len(share) for share in shares} == {len(whole)}
    joined = [
        tuple(torch.cat([share[step][item] for share in shares]) for item in range(2)) for step in range(len(whole))
    ]
    assert same(whole, joined)  # type: ignore[arg-type] # tuples of two


def test_augmentation_is_drawn_per_step(resident: DataSplits) -> None:
    """The images are those of the plain epoch, augmented; each epoch and step has its own numbers."""
    plain = resident.train.fetch(range(7))[0]
    first = epoch(resident, augmentation=AUGMENTATION)[0][0]
    assert not torch.equal(first, resident.preprocessing.normalize(plain))
    assert not same(epoch(resident, augmentation=AUGMENTATION), epoch(resident, augmentation=AUGMENTATION, epoch=1))
    fixed = [draw(AUGMENTATION, 7, 16, torch.Generator().manual_seed(seed)) for seed in range(3)]
    assert not any(
        torch.equal(resident.preprocessing.normalize(augment(plain, numbers, AUGMENTATION)), first) for numbers in fixed
    )


def test_drop_last_leaves_out_the_rest_but_never_everything(resident: DataSplits) -> None:
    """A split smaller than a batch is one batch."""
    assert [len(labels) for _, labels in epoch(resident, 20, drop_last=True)] == [20, 20]
    small = Batches(resident.train, resident.preprocessing, 1000, drop_last=True, rank=1, world_size=2)
    assert small.batch_size == len(resident.train) - len(resident.train) % 2
    assert [len(labels) for _, labels in small] == [small.batch_size // 2]


@pytest.mark.parametrize("budget", [1000, 2**30])
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_end_an_epoch_in_one_line_or_are_skipped(tmp_path: Path, budget: int, workers: int) -> None:
    """From worker processes too, whose tracebacks are nobody's business; the others keep their augmentation."""
    whole = load_dataset(write(tmp_path), image_size=16, memory_budget=budget)
    bad = int(whole.train.positions[9])
    expected = epoch(whole, shuffle=True, augmentation=AUGMENTATION)
    write(tmp_path, bad=(bad,))
    options: dict[str, Any] = {"shuffle": True, "augmentation": AUGMENTATION, "workers": workers}
    strict = load_dataset(tmp_path, image_size=16, memory_budget=budget, preprocessing=whole.preprocessing)
    with pytest.raises(BadImageError, match=rf"^Expected a readable image, got row {bad} of train\.parquet [^\n]*$"):
        epoch(strict, **options)
    lenient = load_dataset(
        tmp_path, image_size=16, memory_budget=budget, preprocessing=whole.preprocessing, skip_bad_images=True
    )
    got = epoch(lenient, **options)
    assert [len(labels) for _, labels in got].count(6) == 1
    rows = {image.numpy().tobytes() for images, _ in got for image in images}
    assert rows < {image.numpy().tobytes() for images, _ in expected for image in images}
    assert len(rows) == len(whole.train) - 1
    assert lenient.train.skipped == [f"row {bad} of train.parquet"]


def test_a_batch_left_empty_is_left_out_unless_devices_must_stay_in_step(tmp_path: Path) -> None:
    """One image per batch makes it happen."""
    whole = load_dataset(write(tmp_path), image_size=16)
    write(tmp_path, bad=(int(whole.train.positions[0]),))
    data = load_dataset(tmp_path, image_size=16, skip_bad_images=True)
    assert len(epoch(data, 1)) == len(whole.train) - 1
    assert [len(labels) for _, labels in epoch(data, 1, rank=1, world_size=2)][:2] == [0, 1]


def test_settings_out_of_range_are_refused(resident: DataSplits) -> None:
    """Each with its value."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"batch_size": 0}, "batch size of at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, r"rank in \[0, 1\], got 2"),
        ({"workers": -1}, "at least 0 workers, got -1"),
        ({"drop_last": True, "world_size": 2}, "divisible by 2 devices, got 7"),
        ({"batch_size": 100, "drop_last": True, "world_size": 100}, "one image for each of 100 devices, got 43"),
    ]
    for options, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            epoch(resident, **options)
    other = replace(images_alone(resident.preprocessing), size=32)
    with pytest.raises(ConfigurationError, match="preprocessing for 16x16 pixels, got 32x32"):
        Batches(resident.train, other, 8)


MEASURE = """
import json, multiprocessing, os, re, sys
from pathlib import Path
import torch
from shallowdeep.data.load import load_dataset
from shallowdeep.data.batches import Batches

def peak(pid):  # of the program alone: getrusage would count what its parent held before it started
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024

def epoch(root):
    data = load_dataset(root, image_size=128, memory_budget=int(sys.argv[3]))
    sums, peaks = [], []
    for images, labels in Batches(data.train, data.preprocessing, 16, shuffle=True, workers=2):
        sums += images.double().mean((1, 2, 3)).tolist()
        peaks += [peak(pid) for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]]
    return data.train.resident, sums, max(peaks)

torch.set_num_threads(1)
before = epoch(sys.argv[1])[2]  # a small twin first: what libraries take once is not the data's
resident, sums, after = epoch(sys.argv[2])
print(json.dumps({"growth": after - before, "resident": resident, "sums": sorted(sums)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of a process from /proc")
def test_streaming_keeps_memory_bounded(tmp_path: Path) -> None:
    """1,440 training images of 128x128 take 68 MiB decoded, streaming them under half, each one once."""
    small, large = tmp_path / "small", tmp_path / "large"
    for root, count in ((small, 60), (large, 2000)):
        root.mkdir()
        write(root, count=count, size=128)
    results = {}
    for budget in (2**18, 2**30):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(small), str(large), str(budget)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results[budget] = json.loads(done.stdout)
    streaming, resident = results.values()
    assert not streaming["resident"]
    assert resident["resident"]
    assert len(streaming["sums"]) == 1440  # 2,000 less test and calibration
    assert streaming["sums"] == resident["sums"]
    assert resident["growth"] > 60  # MiB: the measurement sees what it should
    assert streaming["growth"] < 32


def test_a_subset_is_those_images_of_the_split(resident: DataSplits) -> None:
    """A subset holds the chosen images in the order asked for."""
    chosen = [5, 0, 3]
    part = resident.train.subset(chosen)
    images, labels = part.fetch(range(3))
    expected, expected_labels = resident.train.fetch(chosen)
    assert len(part) == 3
    assert torch.equal(images, expected)
    assert torch.equal(labels, expected_labels)
    assert torch.equal(part.labels, resident.train.labels[chosen])
