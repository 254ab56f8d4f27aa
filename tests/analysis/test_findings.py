"""The whole document: complete, plain, finite, and honest about what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shallowdeep.analysis.findings import findings_of
from shallowdeep.analysis.recorded import Recorded
from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.predictions import ExitPredictions

COSTS = np.array([0.3, 0.6, 1.05])


def document_of(recorded: Recorded, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - of `findings_of`
    """The findings as the JSON document that they become."""
    document: dict[str, Any] = json.loads(findings_of(recorded, **settings).to_json())
    return document


def exits(samples: int = 200, seed: int = 0, gain: float = 1.0) -> dict[str, Any]:
    """Logits, costs and labels of three exits and four classes."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, samples)
    logits = generator.normal(size=(3, samples, 4)).astype(np.float32)
    logits[:, np.arange(samples), labels] += gain
    return {"logits": logits, "costs": COSTS, "labels": labels}


def test_everything_is_plain_and_finite() -> None:
    """JSON without NaN or infinity; all blocks are there, with intervals around their figures."""
    tune = ExitPredictions(**exits(seed=1))
    statistics = ConfusionStatistics.over([exits(seed=2)["logits"]])
    found = document_of(Recorded(**exits()), tune=tune, statistics=statistics, resamples=100)
    json.dumps(found, allow_nan=False)
    assert all(found[name] is not None for name in found)
    assert found["notes"] == []
    assert set(found["error_indicators"]) >= {"confusion", "max-softmax", "trajectory"}
    for name, block in found["error_indicators"].items():
        low, high = block["intervals"]["auroc"]
        assert low <= block["auroc"] <= high, name
    aurocs = {name: block["auroc"] for name, block in found["error_indicators"].items()}
    assert aurocs[found["best_indicator"]] == max(aurocs.values())
    assert len(found["paper"]) == 6
    assert [exit_["name"] for exit_ in found["exits"]] == ["exit 0", "exit 1", "final"]


def test_confusion_levels_and_counts_by_hand() -> None:
    """Levels are z-scores by the training statistics; the paper's counts are counted; histograms hold every sample."""
    recorded = Recorded(**exits())
    statistics = ConfusionStatistics.over([exits(seed=2)["logits"]])
    found = document_of(recorded, statistics=statistics, resamples=0)["confusion"]
    training = confusion(exits(seed=2)["logits"])
    values = (confusion(recorded.logits) - training.mean()) / training.std()
    right = recorded.logits[-1].argmax(-1) == recorded.labels
    assert found["right_mean"] == pytest.approx(values[right].mean(), abs=1e-4)
    assert found["wrong_mean"] == pytest.approx(values[~right].mean(), abs=1e-4)
    assert found["right_above_wrong_mean"] == (values[right] > values[~right].mean()).sum()
    assert found["wrong_below_right_mean"] == (values[~right] < values[right].mean()).sum()
    bins = found["histogram"]
    assert sum(bins["right"]) == right.sum()
    assert np.array_equal(np.add(bins["right"], bins["wrong"]), bins["all"])
    assert found["normalisation"]["samples"] == 200


def test_without_labels_the_label_free_parts_work() -> None:
    """And a note says what is missing."""
    given = {**exits(), "labels": None}
    found = document_of(Recorded(**given), resamples=50)
    json.dumps(found, allow_nan=False)
    assert not found["labelled"]
    for name in ("wasteful", "destructive", "error_indicators", "per_class", "classes_confused", "cumulative_accuracy"):
        assert found[name] is None, name
    assert found["trajectories"]["stable"] > 0
    assert found["confusion"]["mean"] > 0
    assert found["confusion"]["histogram"]["right"] is None
    assert any(note.startswith("No labels") for note in found["notes"])
    assert found["paper"] == []


def test_a_single_exit_an_absent_class_and_no_error() -> None:
    """Nothing is divided by nothing; notes name what cannot be told."""
    one = exits()
    single = document_of(Recorded(one["logits"][:1], CostModel((1.0,)), one["labels"]), resamples=20)
    json.dumps(single, allow_nan=False)
    assert single["wasteful"] is single["confusion"] is None
    assert "confusion" not in single["error_indicators"]
    assert any(note.startswith("A single exit") for note in single["notes"])
    perfect = exits(gain=50.0)
    kept = perfect["labels"] != 2
    found = document_of(
        Recorded(perfect["logits"][:, kept], CostModel.of(COSTS), perfect["labels"][kept], ("a", "b", "c", "d")),
        tune=ExitPredictions(**perfect), resamples=20,
    )  # fmt: skip
    json.dumps(found, allow_nan=False)
    assert found["destructive"]["share_of_errors"] is None
    assert found["error_indicators"] is None
    assert "1 of 4 classes have no sample: c" in found["notes"]
    assert any("none of these samples wrong" in note for note in found["notes"])
    assert found["per_class"][2]["accuracy"] is None


def test_a_network_that_is_always_wrong() -> None:
    """Nothing right is as little to tell apart as nothing wrong."""
    given = exits(gain=-50.0)
    found = document_of(Recorded(**given), resamples=20)
    json.dumps(found, allow_nan=False)
    assert found["wasteful"]["oracle_accuracy"] == 0
    assert found["error_indicators"] is None
    assert found["confusion"]["right_mean"] is None


def test_other_networks_predictions_are_refused() -> None:
    """Tune predictions or statistics of other exits."""
    two = {**exits(), "logits": exits()["logits"][:2], "costs": COSTS[:2]}
    with pytest.raises(DataError, match="tune predictions of 3 exits"):
        document_of(Recorded(**exits()), tune=ExitPredictions(**two))
    with pytest.raises(DataError, match="statistics of 3 exits, got 2"):
        document_of(Recorded(**exits()), statistics=ConfusionStatistics.over([two["logits"]]))


def test_files_of_other_programs(tmp_path: Path) -> None:
    """Logits and costs suffice, of any floating type; labels, names and images are taken where they are there."""
    given = exits(samples=5)
    path = tmp_path / "theirs.npz"
    np.savez(path, logits=given["logits"].astype(np.float64), costs=COSTS.tolist())
    bare = Recorded.load(path)
    assert bare.labels is None
    assert bare.logits.dtype == np.float32
    np.savez(path, **{**given, "costs": COSTS.astype(np.longdouble)}, class_names=np.array([b"a", b"b", b"c", b"d"]))
    theirs = Recorded.load(path)
    assert theirs.class_names == ("a", "b", "c", "d")
    assert theirs.costs == CostModel.of(np.asarray(COSTS))
    images = np.zeros((5, 8, 8, 3), np.uint8)
    np.savez(path, **given, class_names=["a", "b", "c", "d"], exit_names=["x", "y", "z"], images=images)
    full = Recorded.load(path)
    assert (full.class_names, full.exit_names) == (("a", "b", "c", "d"), ("x", "y", "z"))
    assert full.images is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((3, 5), np.float32)}, "shape"),
        ({"logits": np.full((3, 5, 4), np.nan, np.float32)}, "finite logits"),
        ({"logits": np.full((3, 5, 4), 1e60)}, "finite logits"),
        ({"logits": np.zeros((3, 5, 4), int)}, "float32"),
        ({"labels": np.array([0, 1, 2, 3, 4])}, r"labels in \[0, 4\)"),
        ({"labels": np.zeros(4, int)}, "labels of shape"),
        ({"costs": np.array([0.3, 0.2, 1.0])}, "rise from exit to exit"),
        ({"costs": np.array([2e7, 5e7, 1e8])}, "costs relative to the whole network"),
        ({"logits": np.full((3, 5, 4), 3e38, np.float32)}, "logits of at most 1e\\+38"),
        ({"class_names": np.array(["a", "b", "c", None])}, "numbers or strings"),
        ({"class_names": np.array(["a"])}, "Expected 4 class names, got 1"),
        ({"exit_names": np.array(["a"])}, "Expected 3 exit names, got 1"),
        ({"images": np.zeros((5, 8, 8), np.uint8)}, "images of shape"),
    ],
)
def test_bad_files_are_refused_in_one_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each names the file."""
    path = tmp_path / "bad.npz"
    np.savez(path, **{**exits(samples=5), **change})
    with pytest.raises(CheckpointError, match=message) as caught:
        Recorded.load(path)
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_without_what_is_needed(tmp_path: Path) -> None:
    """No costs, no file, or something else altogether."""
    path = tmp_path / "bad.npz"
    np.savez(path, logits=np.zeros((1, 2, 3), np.float32))
    with pytest.raises(CheckpointError, match="Expected arrays logits, costs"):
        Recorded.load(path)
    with pytest.raises(CheckpointError, match="no file at"):
        Recorded.load(tmp_path / "none.npz")
    path.write_bytes(b"PK not really")
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        Recorded.load(path)


@settings(max_examples=120, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(2, 4)),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e30]),
    known=st.tuples(st.booleans(), st.booleans()),
    fitted=st.integers(0, 40),
    seed=st.integers(0, 1000),
)
def test_whatever_the_shape_every_number_is_one(
    shape: tuple[int, int, int], scale: float, known: tuple[bool, bool], fitted: int, seed: int
) -> None:
    """One sample, two classes, equal or huge logits, few to fit on: JSON without NaN, and tables that print."""
    (exits_, samples, classes), (labelled, measured) = shape, known
    generator = np.random.default_rng(seed)

    def logits(count: int) -> NDArray[np.float32]:
        return (scale * generator.normal(size=(exits_, count, classes))).astype(np.float32)

    costs = CostModel.of(np.linspace(1 / exits_, 1.0, exits_))
    recorded = Recorded(logits(samples), costs, generator.integers(0, classes, samples) if labelled else None)
    tune = ExitPredictions(logits(fitted), generator.integers(0, classes, fitted), costs) if fitted else None
    statistics = ConfusionStatistics.over([logits(5)]) if measured else None
    found = document_of(recorded, tune=tune, statistics=statistics, resamples=20)
    json.dumps(found, allow_nan=False)
    assert len(found["exits"]) == exits_
    assert found["trajectories"]["stable"] + found["trajectories"]["changing"] == pytest.approx(1)


def test_arrays_that_mean_nothing_are_named(tmp_path: Path) -> None:
    """A misspelt array is told, not passed over; those that this program writes itself are known."""
    given = exits(samples=5)
    np.savez(tmp_path / "theirs.npz", **given, label=given["labels"], exit_name=["a", "b", "c"])
    found = document_of(Recorded.load(tmp_path / "theirs.npz"), resamples=0)
    assert "Arrays that mean nothing here were not read: label, exit_name." in found["notes"]
    ExitPredictions(**given).save(tmp_path / "ours.npz")
    assert Recorded.load(tmp_path / "ours.npz").unread == ()
