"""Wall time of the engine against the static network, and what the exits taken would allow (no torch)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shallowdeep.bench.accuracy import PairedAccuracy, paired_accuracy
from shallowdeep.bench.condition import NeighbourTiming, Pools, alone, beside_neighbour, neighbour_timing
from shallowdeep.bench.ideal import ideal_speedup
from shallowdeep.bench.loss_warning import Lost, loss_warning
from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import (
    TRIALS,
    PairedRatio,
    Process,
    batches_a_turn,
    closing,
    side_workers,
)
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.promises import Promise
from shallowdeep.inference.bundle import Bundle
from shallowdeep.machine import Machine, this_machine
from shallowdeep.progress import SILENT, Bar, Progress

BATCH_SIZES = (1, 8, 32, 64, 256)
ROUNDS = 15
_SEGMENT_REPEATS = 5
_ANSWERED = 64  # images at a time, where nothing is timed

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class BatchTiming:
    """Engine against static network at one batch size; times are medians over rounds.

    Attributes:
        batch_size: images in a batch.
        images: different ones that were timed.
        static_ms: milliseconds a batch of the static network.
        engine_ms: milliseconds a batch of the engine.
        speedup: static over engine.
        accuracy: of the engine on the images timed, each counted once; a fraction. None where there are no labels.
            Answers that the policy withholds count as given.
        static_accuracy: of the static network on the same images.
        accuracy_loss: static minus engine, a fraction; negative where the engine is right more often.
        accuracy_loss_interval: low and high end of its 95 % interval, by image.
        disagreement: share of the images timed that the two answer otherwise.
        ideal_speedup: of the static network stopped where each image stops, by the segments' time.
        ideal_speedup_macs: the same by multiply-adds.
        of_ideal: share of the ideal speed-up that is reached.
        relative_cost: mean over the images timed, each as often as it was.
        exit_shares: share of these that leave at each exit, E of them.
        overhead_share: share of the engine's time outside calls of segments.
        segment_ms: milliseconds of each segment on whole batches.
        pools: of threads.
        neighbour: the same beside a busy process; None where that was not asked for.
    """

    batch_size: int
    images: int
    static_ms: float
    engine_ms: float
    speedup: PairedRatio
    accuracy: float | None
    static_accuracy: float | None
    accuracy_loss: float | None
    accuracy_loss_interval: tuple[float, float] | None
    disagreement: float
    ideal_speedup: float
    ideal_speedup_macs: float
    of_ideal: float
    relative_cost: float
    exit_shares: tuple[float, ...]
    overhead_share: float
    segment_ms: tuple[float, ...]
    pools: Pools
    neighbour: NeighbourTiming | None = None


@dataclass(frozen=True)
class PeakMemory:
    """Most bytes that both sides have had resident; 0 where the system does not tell.

    Attributes:
        engine_bytes: of the engine's process.
        static_bytes: of the static network's.
        engine_growth_bytes: by how much the engine's grew since it was ready.
        static_growth_bytes: likewise.
        ratio: engine over static; None where it is not known.
    """

    engine_bytes: int
    static_bytes: int
    engine_growth_bytes: int
    static_growth_bytes: int
    ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """What ``bench`` finds.

    Attributes:
        bundle: its path.
        data: name of the dataset that the images are from.
        backend: that runs both sides.
        precision: that both compute in.
        model: name of the network.
        images: how many were to choose from.
        rounds: of turns, for each batch size.
        machine: that it was measured on.
        batches: one a batch size, in the order asked for.
        peak_memory: at the largest batch size.
        promise: of the policy, on what it loses against the network's own final exit, which is the static network;
            None for nothing.
        warnings: what a reader must not overlook, such as a loss beyond the promise; sentences.
        neighbour: whether both sides were timed beside a busy process too.
    """

    bundle: str
    data: str
    backend: str
    precision: str
    model: str
    images: int
    rounds: int
    machine: Machine
    batches: tuple[BatchTiming, ...]
    peak_memory: PeakMemory
    promise: Promise | None
    warnings: tuple[str, ...]
    neighbour: bool = False


def compare(
    bundle: Bundle,
    images: NDArray[np.float32],
    labels: Integers | None,
    *,
    data: str,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    rounds: int = ROUNDS,
    threads: int,
    neighbour: bool = False,
    progress: Progress = SILENT,
) -> Comparison:
    """Time a bundle's engine against its static network.

    In every round each runs the same batches once, in alternating order; which pool of threads suits each best is
    found by a few rounds before. The ideal is the static network stopped where the engine stops: for every image the
    share of the segments' time that lies before its exit, segments timed in the same run on whole batches.

    Args:
        bundle: with its static network.
        images: (N, 3, S, S) normalised; real ones, since they decide who leaves where.
        labels: (N,) integers in [0, C), the right answers; None where they are not known.
        data: name of the dataset that they are from.
        batch_sizes: to measure.
        rounds: for each.
        threads: of each worker.
        neighbour: time both beside a busy single-threaded process too, in rounds that take turns with those without.
        progress: told what is being done, and how many rounds are.

    Raises:
        ConfigurationError: the bundle has no static network, or there are no images.
        DataError: another number of labels than of images.
        ShallowDeepError: a worker died.
    """
    check_static(bundle)
    if labels is not None and len(labels) != len(images):
        raise DataError(f"Expected a label for each of {len(images)} images, got {len(labels)}")
    if not len(images) or rounds < 1 or not batch_sizes or min(batch_sizes) < 1:
        raise ConfigurationError("Expected images, rounds and batch sizes of at least 1 to measure, got none")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "images.npy"
        np.save(file, images)
        progress.say(f"Starting processes of {threads} threads; both sides answer {len(images):,} images first")
        with (
            closing(side_workers(bundle, ENGINE, file, threads)) as engines,
            closing(side_workers(bundle, STATIC, file, threads)) as statics,
        ):
            answers = _answers(engines[0], statics[0], len(images), progress)
            sides = _Sides(bundle, engines, statics, answers, labels)
            beside = ", and as many beside a busy process" if neighbour else ""
            progress.say(f"Timing batches of {', '.join(map(str, batch_sizes))} images, {rounds} rounds each{beside}")
            with progress.start("timing", "rounds", (1 + neighbour) * rounds * len(batch_sizes)) as bar:
                measured = [_at_size(sides, size, rounds, bar, neighbour=neighbour) for size in batch_sizes]
            largest = max(measured, key=lambda one: one.timing.batch_size)
            memory = _memory(largest.engine, largest.static)
    batches = tuple(one.timing for one in measured)
    warning = loss_warning([_lost(batch) for batch in batches], bundle.policy.promise)
    return Comparison(
        bundle=str(bundle.path),
        data=data,
        backend=bundle.backend,
        precision=bundle.precision,
        model=bundle.model,
        images=len(images),
        rounds=rounds,
        machine=this_machine(threads),
        batches=batches,
        peak_memory=memory,
        promise=bundle.policy.promise,
        warnings=tuple(text for text in (bundle.withdrawn, warning) if text is not None),
        neighbour=neighbour,
    )


def check_static(bundle: Bundle) -> None:
    """Refuse a bundle without its static network.

    Raises:
        ConfigurationError: saying how to export it.
    """
    if bundle.static is None:
        raise ConfigurationError(
            f"Expected a bundle with its static network, {bundle.path} has none; export it without --no-static"
        )


class _Answers(NamedTuple):
    """What both sides answer to all N images, (N,) each, and where the engine stops."""

    engine: Integers
    static: Integers
    exits: Integers


@dataclass(frozen=True)
class _Sides:
    """Both sides' processes, what they answer, and what is right."""

    bundle: Bundle
    engines: Sequence[Process]
    statics: Sequence[Process]
    answers: _Answers
    labels: Integers | None


class _AtSize(NamedTuple):
    """What one batch size gave, and the processes that ran it."""

    engine: Process
    static: Process
    timing: BatchTiming


def _answers(engine: Process, static: Process, images: int, progress: Progress) -> _Answers:
    """What both sides answer to every image; nothing is timed."""
    parts: list[tuple[list[int], list[int], list[int]]] = []
    with progress.start("answering", "images", images) as bar:
        for first in range(0, images, _ANSWERED):
            where = {"first": first, "size": min(_ANSWERED, images - first)}
            given = engine.order("answers", **where)
            parts.append((given["labels"], static.order("answers", **where)["labels"], given["exits"]))
            bar.advance(where["size"])
    return _Answers(*(np.concatenate(part).astype(np.int64) for part in zip(*parts, strict=True)))


def _at_size(sides: _Sides, size: int, rounds: int, bar: Bar, *, neighbour: bool) -> _AtSize:
    """One batch size."""
    bundle, answers = sides.bundle, sides.answers
    idle, beside = alone(), beside_neighbour() if neighbour else None
    conditions = [idle] if beside is None else [idle, beside]
    bar.advance(0, f"batch {size}: choosing threads")
    count = batches_a_turn(sides.statics, size)
    for condition in conditions:
        condition.choose(sides.engines, sides.statics, size, count)
    for number in range(rounds):
        for condition in conditions:
            condition.turn(number, size, count)
            ratio = condition.milliseconds(STATIC) / condition.milliseconds(ENGINE)
            bar.advance(1, f"batch {size}{condition.what}: {ratio:.2f}x")
    engine, static, times = idle.chosen[ENGINE], idle.chosen[STATIC], idle.seconds
    bar.advance(0, f"batch {size}: timing segments")
    later = [{"first": number * size * count, "size": size} for number in range(TRIALS)]
    spans = np.median([engine.order("segments", **where, repeats=_SEGMENT_REPEATS) for where in later], axis=0)
    overhead = [engine.order("overhead", **where, batches=count) for where in later]
    images = len(answers.exits)
    timed = answers.exits[np.arange(rounds * size * count) % images]
    seen = slice(min(rounds * size * count, images))  # turns go through the images in order, round and round
    accuracy = _accuracy(sides, seen)
    whole = bundle.segments[-1].exit == bundle.policy.exits - 1  # else the policy's cost limit ends before
    ideal = ideal_speedup(
        np.searchsorted([segment.exit for segment in bundle.segments], timed),
        spans,
        [segment.relative_cost for segment in bundle.segments],
        float(spans.sum()) if whole else float(np.median(times[STATIC])),
    )
    speedup = idle.speedup()
    timing = BatchTiming(
        batch_size=size,
        images=seen.stop,
        static_ms=idle.milliseconds(STATIC),
        engine_ms=idle.milliseconds(ENGINE),
        speedup=speedup,
        accuracy=None if accuracy is None else accuracy.engine,
        static_accuracy=None if accuracy is None else accuracy.static,
        accuracy_loss=None if accuracy is None else accuracy.loss,
        accuracy_loss_interval=None if accuracy is None else accuracy.interval,
        disagreement=float(np.mean(answers.engine[seen] != answers.static[seen])),
        ideal_speedup=ideal.by_time,
        ideal_speedup_macs=ideal.by_macs,
        of_ideal=speedup.median / ideal.by_time,
        relative_cost=ideal.relative_cost,
        exit_shares=tuple(float(np.mean(timed == exit_)) for exit_ in range(bundle.policy.exits)),
        overhead_share=float(np.median(overhead)),
        segment_ms=tuple((1e3 * spans).tolist()),
        pools=idle.pools(),
        neighbour=None if beside is None else neighbour_timing(idle, beside, ideal.by_time),
    )
    return _AtSize(engine, static, timing)


def _accuracy(sides: _Sides, seen: slice) -> PairedAccuracy | None:
    """Accuracy of both sides on the images ``seen``; None without labels."""
    if sides.labels is None:
        return None
    return paired_accuracy(sides.answers.engine[seen], sides.answers.static[seen], sides.labels[seen])


def _lost(batch: BatchTiming) -> Lost:
    low = None if batch.accuracy_loss_interval is None else batch.accuracy_loss_interval[0]
    return Lost(batch.batch_size, batch.accuracy_loss, low, batch.disagreement)


def _memory(engine: Process, static: Process) -> PeakMemory:
    """Most bytes that both sides have had resident, and by how much they grew since they were ready."""
    mine, theirs = engine.order("memory"), static.order("memory")
    return PeakMemory(
        engine_bytes=mine["peak"],
        static_bytes=theirs["peak"],
        engine_growth_bytes=mine["peak"] - mine["opened"],
        static_growth_bytes=theirs["peak"] - theirs["opened"],
        ratio=mine["peak"] / theirs["peak"] if theirs["peak"] else None,
    )
