"""ExitPredictions: what it accepts, what it refuses, and its file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shallowdeep.errors import CheckpointError, DataError, OutputError
from shallowdeep.exits.arrays import Array
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.predictions import ExitPredictions

LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1])
COSTS = np.array([0.2, 1.01])


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_sizes_come_from_the_logits(asarray: Callable[..., Array]) -> None:
    """(E, N, C) are exits, samples and classes."""
    pred = ExitPredictions(asarray(LOGITS), asarray(LABELS), asarray(COSTS))
    assert (pred.exits, pred.samples, pred.classes) == (2, 3, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logits": LOGITS[0]}, r"Expected logits of shape \(exits, samples, classes\).*got \(3, 4\)"),
        ({"logits": LOGITS[:, :0]}, r"none of them 0, got \(2, 0, 4\)"),
        ({"logits": LOGITS.astype(np.float64)}, "float32, got float64"),
        ({"logits": np.where(np.arange(4) == 3, np.float32(np.nan), LOGITS)}, "finite logits, got 6 that"),
        ({"logits": np.full_like(LOGITS, np.inf)}, "finite logits, got 24 that"),
        ({"labels": LABELS[:2]}, r"labels of shape \(3,\)"),
        ({"labels": LABELS.astype(np.float32)}, "integer labels, got dtype float32"),
        ({"labels": LABELS + 1}, r"labels in \[0, 4\), got labels from 1 to 4"),
        ({"labels": LABELS - 1}, r"labels in \[0, 4\), got labels from -1 to 2"),
        ({"costs": COSTS[:1]}, r"costs of shape \(2,\)"),
        ({"costs": np.array([1, 2])}, "floating costs of shape .* got int64"),
        ({"costs": COSTS[::-1]}, r"rise from exit to exit, got \[1.01, 0.2\]"),
        ({"costs": np.array([0.5, 0.5])}, "rise from exit to exit"),
        ({"costs": np.array([0.0, 0.5])}, "finite positive costs"),
        ({"costs": np.array([0.5, np.nan])}, "finite positive costs"),
        ({"costs": np.array([0.5, np.inf])}, "finite positive costs"),
        ({"labels": torch.asarray(LABELS)}, "one array library, got ndarray, Tensor"),
        ({"labels": [0, 3, 1]}, "one array library, got ndarray, list"),
    ],
)
def test_refuses_what_are_no_predictions(fields: dict[str, Any], message: str) -> None:
    """Every wrong shape, dtype and value is told as expected against got."""
    with pytest.raises(DataError, match=message):
        ExitPredictions(**({"logits": LOGITS, "labels": LABELS, "costs": COSTS} | fields))


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_what_is_saved_is_loaded(tmp_path: Path, asarray: Callable[..., Array]) -> None:
    """Every value and dtype survives, folders are made, an old file is renewed and nothing else is left behind."""
    path = tmp_path / "predictions" / "test.npz"
    for labels in (LABELS[::-1].copy(), LABELS):
        ExitPredictions(asarray(LOGITS), asarray(labels), asarray(COSTS)).save(path)
    loaded = ExitPredictions.load(path)
    for name, expected in (("logits", LOGITS), ("labels", LABELS)):
        np.testing.assert_array_equal(getattr(loaded, name), expected, strict=True)
    assert loaded.costs == CostModel((0.2, 1.01))
    assert list(path.parent.iterdir()) == [path]


def test_where_predictions_come_from_is_saved_too(tmp_path: Path) -> None:
    """Heads' own costs, cascade, weights and backend survive; files without them, as older ones are, load too."""
    path, costs = tmp_path / "test.npz", CostModel((0.2, 1.01), (0.01,), cascaded=True)
    ExitPredictions(LOGITS, LABELS, costs, weights="ab12", backend="torch").save(path)
    loaded = ExitPredictions.load(path)
    assert (loaded.costs, loaded.weights, loaded.backend) == (costs, "ab12", "torch")
    np.savez(path, logits=LOGITS, labels=LABELS, costs=COSTS)
    loaded = ExitPredictions.load(path)
    assert (loaded.costs, loaded.weights, loaded.backend) == (CostModel((0.2, 1.01)), "", "")


def test_some_samples_keep_the_rest() -> None:
    """A subset has the same costs and origin, in the order asked for."""
    pred = ExitPredictions(LOGITS, LABELS, COSTS, weights="ab12", backend="torch").subset([2, 0])
    np.testing.assert_array_equal(pred.logits, LOGITS[:, [2, 0]])
    assert (pred.labels.tolist(), pred.costs, pred.weights) == ([1, 0], CostModel((0.2, 1.01)), "ab12")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """No cut gives predictions or anything but one line."""
    path = tmp_path / "test.npz"
    ExitPredictions(LOGITS, LABELS, COSTS).save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged or foreign") as caught:
            ExitPredictions.load(path)
        assert "\n" not in str(caught.value)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    """A flipped bit in the logits does not pass the file's checksum."""
    path = tmp_path / "test.npz"
    ExitPredictions(LOGITS, LABELS, COSTS).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(LOGITS.tobytes())] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        ExitPredictions.load(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS, "labels": LABELS}, "Expected arrays logits, labels, costs"),
        ({"x": LOGITS}, "Expected arrays logits, labels, costs"),
        ({"logits": LOGITS, "labels": LABELS, "costs": np.array([0.2, None])}, "got Python objects"),
        ({"logits": LOGITS, "labels": LABELS, "costs": COSTS[::-1]}, "Expected finite positive costs .* in .*npz"),
    ],
)
def test_a_foreign_npz_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    """Missing arrays, pickled objects and arrays that are no predictions are each told."""
    path = tmp_path / "other.npz"
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match=message):
        ExitPredictions.load(path)


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    """A lone array, a text, a folder and nothing at all are told in one line."""
    lone, text = tmp_path / "lone.npz", tmp_path / "text.npz"
    with lone.open("wb") as file:
        np.save(file, LOGITS)
    text.write_text("logits")
    for path in (lone, text, tmp_path, tmp_path / "none.npz"):
        with pytest.raises(CheckpointError, match="Expected"):
            ExitPredictions.load(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where a folder should be is an OutputError, and stays as it was."""
    blocker = tmp_path / "predictions"
    blocker.write_text("mine")
    with pytest.raises(OutputError, match="Expected to write"):
        ExitPredictions(LOGITS, LABELS, COSTS).save(blocker / "test.npz")
    assert blocker.read_text() == "mine"


def test_exits_need_no_torch() -> None:
    """Bundles without torch read predictions and apply policies."""
    code = (
        "import sys; import shallowdeep.exits.predictions, shallowdeep.exits.policy, shallowdeep.exits.signals; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
