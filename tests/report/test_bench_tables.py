"""What `bench` tells people, in 100 columns and in a picture: no speed without its accuracy."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from shallowdeep.bench.comparison import BatchTiming, Comparison, PeakMemory
from shallowdeep.bench.condition import NeighbourTiming, Pools
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.cli.terminal import PLAIN_WIDTH
from shallowdeep.exits.promises import Promise
from shallowdeep.machine import Machine
from shallowdeep.report.bench_figure import bench_figure
from shallowdeep.report.bench_tables import bench_tables

PROMISE = Promise("as said", "accuracy-gap", 0.01, 0.95, "own final exit", 356, "betting", 0.01)
ONE = BatchTiming(
    batch_size=1, images=1234, static_ms=71.95, engine_ms=19.12, speedup=PairedRatio(3.76, 3.6, 3.91),
    accuracy=0.9012, static_accuracy=0.9364, accuracy_loss=0.0352, accuracy_loss_interval=(0.0211, 0.0475),
    disagreement=0.05, ideal_speedup=4.1, ideal_speedup_macs=3.92, of_ideal=0.917, relative_cost=0.255,
    exit_shares=(0.7, 0.2, 0.1), overhead_share=0.035, segment_ms=(1.0, 2.0, 3.0), pools=Pools("one", "two"),
)  # fmt: skip
MANY = replace(
    ONE, batch_size=256, images=2048, accuracy=0.95, static_accuracy=0.94, accuracy_loss=-0.01,
    accuracy_loss_interval=(-0.12, 0.002), relative_cost=0.4, exit_shares=(0.5, 0.25, 0.25),
)  # fmt: skip
FOUND = Comparison(
    bundle="bundle", data="cifar10", backend="openvino", precision="int8", model="resnet56", images=2048, rounds=15,
    machine=Machine("AMD EPYC", 2, 2, "3.11.7", "2026-11-27"), batches=(ONE, MANY),
    peak_memory=PeakMemory(1, 1, 1, 1, 1.06), promise=None, warnings=("Speed-up at a loss of 3.52 points",),
)  # fmt: skip


BESIDE = NeighbourTiming(
    static_ms=143.9, engine_ms=28.68, speedup=PairedRatio(5.02, 4.8, 5.31), static_slowdown=PairedRatio(2.0, 1.9, 2.1),
    engine_slowdown=PairedRatio(1.5, 1.4, 1.6), of_ideal=1.224, pools=Pools("one", "two"),
)  # fmt: skip


def printed(comparison: Comparison) -> list[str]:
    """The lines of the tables where they are piped."""
    stream = io.StringIO()
    Console(file=stream, width=PLAIN_WIDTH).print(bench_tables(comparison))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def unlabelled(batch: BatchTiming) -> BatchTiming:
    """The same on images without labels."""
    return replace(batch, accuracy=None, static_accuracy=None, accuracy_loss=None, accuracy_loss_interval=None)


def test_each_speed_up_stands_beside_its_accuracy() -> None:
    """In one row, which fits where it is piped: a gain is a negative loss."""
    lines = printed(FOUND)
    rows = [line.split() for line in lines if line.split()[:1] in (["1"], ["256"])]
    assert rows[0] == ["1", "71.95", "19.12", "3.76", "[3.60,", "3.91]", "90.12", "93.64", "3.52", "[2.1,", "4.8]"]
    assert rows[1][6:] == ["95.00", "94.00", "-1.00", "[-12.0,", "0.2]"]


def test_images_costs_and_exits_are_told_for_every_batch_size() -> None:
    """Not for the first alone; the images are those that were timed."""
    rows = [line.split() for line in printed(FOUND) if line.split()[:1] in (["1"], ["256"])]
    assert rows[2] == ["1", "1,234", "0.255", "4.10", "3.92", "0.92", "3.5", "70", "20", "10"]
    assert rows[3] == ["256", "2,048", "0.400", "4.10", "3.92", "0.92", "3.5", "50", "25", "25"]


def test_columns_are_explained_below() -> None:
    """Each in plain words."""
    lines = printed(FOUND)
    for word in ("accuracy: ", "images: ", "ideal: speed-up if", "; by MACs: ", "of ideal: ", "overhead: the"):
        assert sum(word in line for line in lines) == 1


def test_promise_and_warning_are_a_line_each() -> None:
    """The promise by its numbers, the warning as it is; without them one says so, the other is left out."""
    lines = printed(FOUND)
    assert "Policy: promises nothing about the accuracy lost" in lines
    assert lines[-1] == "Warning: Speed-up at a loss of 3.52 points"
    lines = printed(replace(FOUND, promise=PROMISE, warnings=()))
    assert "Policy: promises to be at most 1 point less accurate than the static network, with 95 % confidence" in lines
    assert not any("Warning" in line for line in lines)
    lines = printed(replace(FOUND, promise=replace(PROMISE, risk="disagreement", max_loss=0.02)))
    assert any("promises other answers than the static network for at most 2 % of images" in line for line in lines)


def test_images_without_labels_are_said_to_be() -> None:
    """The accuracy is not made up."""
    lines = printed(replace(FOUND, batches=(unlabelled(ONE),), warnings=()))
    assert "accuracy: not known, since these images have no labels" in lines
    assert next(line for line in lines if line.split()[:1] == ["1"]).split()[-3:] == ["-", "-", "-"]


def test_times_beside_a_busy_process_stand_by_those_without() -> None:
    """In a table of their own with how many times longer each takes; without that neither table nor explanation."""
    lines = printed(replace(FOUND, batches=(replace(ONE, neighbour=BESIDE),), neighbour=True))
    place = next(number for number, line in enumerate(lines) if line.startswith("Beside a busy process"))
    assert lines[place + 2].split()[:7] == ["batch", "static", "ms", "beside", "slower", "engine", "ms"]
    row = ["1", "71.95", "143.90", "2.00", "19.12", "28.68", "1.50", "5.02", "[4.80,", "5.31]", "1.22"]
    assert lines[place + 4].split() == row
    assert sum(line.startswith("beside: one busy single-threaded process") for line in lines) == 1
    assert not any("beside" in line.lower() for line in printed(FOUND))


def test_the_picture_tells_the_loss_below_each_batch_size() -> None:
    """Lost or gained, beside the speed-up; without labels the speed-up alone."""
    axes = bench_figure(FOUND).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["1\n3.76x\n3.5 points lost", "256\n3.76x\n1.0 points gained"]
    assert "points lost" in axes.get_xlabel()
    axes = bench_figure(replace(FOUND, batches=(unlabelled(ONE),))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n3.76x"]
    assert axes.get_xlabel() == "batch size, speed-up"
