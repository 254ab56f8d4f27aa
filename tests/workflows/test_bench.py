"""The images that a bundle is timed on are real ones, of the split that its network has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.made_run import TRUSTING
from tests.recorder import Recorder

from shallowdeep.bench.comparison import Comparison, compare
from shallowdeep.calibration.objective import Objective
from shallowdeep.context import RunContext
from shallowdeep.data.load import load_dataset
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError, DataError, OutputError, UnknownNameError
from shallowdeep.exits.promises import Promise
from shallowdeep.inference.backends.onnx_runtime import open_static
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.workflows.bench import bench_bundle, labelled_images, real_images
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run


@pytest.fixture
def bundle(made_run: Path, workplace: Path) -> Bundle:
    """Of the run, with a policy."""
    calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    return export_run(made_run, workplace / "bundle", context=TRUSTING)


def test_they_are_the_test_split_normalised(bundle: Bundle) -> None:
    """Each of the twelve once, in another order than class by class; the same order every time."""
    images, labels, name = labelled_images(bundle, None)
    splits = load_dataset("images", image_size=16, seed=0, calibration_fraction=0.5)
    pixels, right = splits.test.fetch(np.arange(12))
    expected = splits.preprocessing.normalize(pixels).numpy()
    assert name == "images"
    assert sorted(map(bytes, images)) == sorted(map(bytes, expected))
    assert not np.array_equal(images, expected)
    label_of = dict(zip(map(bytes, expected), right.tolist(), strict=True))
    assert [label_of[bytes(image)] for image in images] == labels.tolist()
    again, same_name = real_images(bundle, None)
    assert np.array_equal(again, images)
    assert same_name == name


def test_other_data_is_taken_whole(bundle: Bundle) -> None:
    """A folder without a test part gives all of its images; other classes are refused."""
    assert len(labelled_images(bundle, "others").labels) == 30
    Path("others/train/azure").rename("others/train/zebra")
    with pytest.raises(ConfigurationError, match="zebra"):
        labelled_images(bundle, "others")


def test_a_directory_that_cannot_be_written_is_told_first(bundle: Bundle, workplace: Path) -> None:
    """Before minutes of measuring."""
    (workplace / "file").write_text("")
    with pytest.raises(OutputError, match="which may not be written"):
        bench_bundle(
            bundle.path, data=None, batch_sizes=[1], rounds=1, threads=1, out=workplace / "file/deeper",
            context=TRUSTING,
        )  # fmt: skip


def timed(
    bundle: Path, *, sizes: Sequence[int], progress: Recorder | None = None, data: str | None = None
) -> Comparison:
    """What a short bench finds, without files."""
    context = TRUSTING if progress is None else RunContext(trust=True, progress=progress)
    found, files = bench_bundle(bundle, data=data, batch_sizes=sizes, rounds=1, threads=1, out=None, context=context)
    assert files == []
    return found


def test_accuracy_is_that_of_the_images_timed(bundle: Bundle) -> None:
    """Engine and static network by hand on the very images, each counted once."""
    images, labels, _ = labelled_images(bundle, "others")
    engine = EarlyExitEngine(bundle, threads=1)(images)
    static = open_static(bundle, 1)(images).argmax(axis=1)
    found = timed(bundle.path, sizes=[1, 32], data="others")
    for batch in found.batches:
        seen = slice(batch.images)
        assert batch.images == 30  # a turn goes through more, so each is timed several times
        assert batch.accuracy == pytest.approx(np.mean(engine.labels[seen] == labels[seen]))
        assert batch.static_accuracy == pytest.approx(np.mean(static[seen] == labels[seen]))
        assert batch.accuracy_loss is not None
        assert batch.accuracy_loss == pytest.approx(np.mean(static == labels) - np.mean(engine.labels == labels))
        assert batch.accuracy_loss_interval is not None
        assert batch.accuracy_loss_interval[0] <= batch.accuracy_loss <= batch.accuracy_loss_interval[1]
        assert batch.disagreement == pytest.approx(np.mean(engine.labels[seen] != static[seen]))
    assert found.promise is None


def test_few_rounds_see_few_images(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch of five in one round is five images, though twelve are at hand."""
    monkeypatch.setattr("shallowdeep.bench.comparison.batches_a_turn", lambda *_: 1)
    images, labels, _ = labelled_images(bundle, None)
    found = timed(bundle.path, sizes=[5, 16])
    assert [batch.images for batch in found.batches] == [5, 12]
    assert found.images == 12
    right = np.asarray(EarlyExitEngine(bundle, threads=1)(images).labels) == labels
    assert [batch.accuracy for batch in found.batches] == [right[:5].mean(), right.mean()]


def test_unlabelled_images_are_timed_without_accuracy(bundle: Bundle) -> None:
    """Other answers are known even so; a wrong number of labels is refused before anything is timed."""
    images, labels, name = labelled_images(bundle, None)
    (batch,) = compare(bundle, images, None, data=name, batch_sizes=[4], rounds=1, threads=1).batches
    assert (batch.accuracy, batch.static_accuracy, batch.accuracy_loss, batch.accuracy_loss_interval) == (None,) * 4
    assert 0 <= batch.disagreement <= 1
    with pytest.raises(DataError, match="Expected a label for each of 12 images, got 11"):
        compare(bundle, images, labels[1:], data=name, threads=1)


def test_a_policy_that_loses_is_warned_about(made_run: Path, workplace: Path) -> None:
    """Made to leave at the first exit against a promise of no other answers, which is in the document too."""
    calibrate_run(made_run, Objective(threshold=0.0), context=TRUSTING)
    careless = export_run(made_run, workplace / "careless", context=TRUSTING)
    promise = Promise("as said", "disagreement", 0.0, 0.95, "own final exit", 20, "exact binomial", 0.01)
    bundle = replace(careless, policy=replace(careless.policy, promise=promise))
    images, labels, name = labelled_images(bundle, "others")
    found = compare(bundle, images, labels, data=name, batch_sizes=[32], rounds=1, threads=1)
    assert found.batches[0].disagreement > 0
    assert found.promise == promise
    assert len(found.warnings) == 1
    assert "answers other than the static network's (batch size 32)" in found.warnings[0]


def test_progress_tells_each_part_before_it_is_done(bundle: Bundle) -> None:
    """A line before the data, one before the processes start, one before timing; bars that end full."""
    seen = Recorder()
    timed(bundle.path, sizes=[1, 4], progress=seen)
    assert [line.split(" ")[0] for line in seen.said] == ["Reading", "Starting", "Timing"]
    assert "12 images" in seen.said[1]
    assert "1, 4" in seen.said[2]
    bars = {bar.what: bar for bar in seen.bars}
    assert bars["answering (images)"].done == 12
    assert bars["timing (rounds)"].done == bars["timing (rounds)"].total == 2
    assert bars["timing (rounds)"].steps.count(0) >= 4  # signs of life between rounds
    assert all(bar.finished for bar in seen.bars)


def test_both_sides_are_timed_beside_a_busy_process(bundle: Bundle) -> None:
    """Only where that is asked for; the document says so, and the process is gone in the end."""
    images, labels, name = labelled_images(bundle, None)
    seen = Recorder()
    found = compare(
        bundle, images, labels, data=name, batch_sizes=[4], rounds=2, threads=1, neighbour=True, progress=seen
    )
    assert found.neighbour
    beside = found.batches[0].neighbour
    assert beside is not None
    assert min(beside.static_ms, beside.engine_ms, beside.speedup.low, beside.of_ideal) > 0
    assert min(beside.static_slowdown.median, beside.engine_slowdown.median) > 0
    assert beside.pools.engine in {"shared", "own", "own-idle"}
    assert seen.said[-1].endswith("4 images, 2 rounds each, and as many beside a busy process")
    bars = {bar.what: bar for bar in seen.bars}
    assert bars["timing (rounds)"].done == bars["timing (rounds)"].total == 4
    document = plain(compare(bundle, images, labels, data=name, batch_sizes=[4], rounds=1, threads=1))
    assert document["neighbour"] is False
    assert document["batches"][0]["neighbour"] is None


def test_paths_that_do_not_exist_are_told_before_anything_is_read(bundle: Bundle, workplace: Path) -> None:
    """The bundle's, that of --data, and that of the data the bundle names; nothing is said before."""
    seen = Recorder()
    with pytest.raises(DataError, match="Expected the directory of a bundle, got nowhere, which does not exist"):
        timed(Path("nowhere"), sizes=[1], progress=seen)
    with pytest.raises(DataError, match=r"got \./nowhere/x, which does not exist"):
        timed(bundle.path, sizes=[1], progress=seen, data="./nowhere/x")
    with pytest.raises(UnknownNameError, match="nearest: mnist5k"):
        timed(bundle.path, sizes=[1], progress=seen, data="minst5k")
    (workplace / "images").rename(workplace / "moved")
    with pytest.raises(DataError, match=r"network of .*bundle was trained on, got .*images'.*; --data names other"):
        timed(bundle.path, sizes=[1], progress=seen)
    assert seen.said == []
    assert timed(bundle.path, sizes=[1], data="moved").images == 12


def test_a_hub_that_does_not_answer_names_data_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the data is the bundle's own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"was trained on, got Expected uoft-cs/cifar10 .*--data names other images"):
        labelled_images(replace(bundle, data={"source": "cifar10"}), None)
    with pytest.raises(DataError, match=r"^Expected uoft-cs/cifar10 "):
        labelled_images(bundle, "cifar10")
