"""What a runtime takes for a network, whole and cut at each exit: workers in turns (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import Process, best_pool, closing, side_workers
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.plan import RuntimeTimes
from shallowdeep.progress import Bar

ROUNDS = 5
SECONDS_A_TURN = 0.1
_MOST_REPEATS = 50  # in a turn


class Contender:
    """One side of a bundle in processes of its own, one for each pool of threads; the best is timed.

    Args:
        bundle: of which the static network is there where that is timed.
        side: ``engine`` or ``static``.
        images: file of an array (N, C, H, W).
        threads: of each process.
        stack: ends the processes.
    """

    def __init__(self, bundle: Bundle, side: str, images: Path, threads: int, stack: ExitStack) -> None:
        self._workers = stack.enter_context(closing(side_workers(bundle, side, images, threads)))

    def at(self, size: int) -> Process:
        """The process to time at a size of batch."""
        return best_pool(self._workers, size, repeats_of(self._workers[0], size))


def repeats_of(process: Process, size: int) -> int:
    """Return how many batches of a size make a turn of a worker."""
    seconds = process.order("time", first=0, size=size, batches=1)
    return int(np.clip(SECONDS_A_TURN / seconds, 1, _MOST_REPEATS))


def static_seconds(static: Contender, sizes: Sequence[int], rounds: int = ROUNDS) -> list[float]:
    """Return the median seconds of a static network for a batch of each size."""
    found = []
    for size in sizes:
        process = static.at(size)
        count = repeats_of(process, size)
        turns = [process.order("time", first=turn * size, size=size, batches=count) / count for turn in range(rounds)]
        found.append(float(np.median(turns)))
    return found


def runtime_times(
    whole: Bundle, halves: Sequence[Bundle], images: Path, sizes: Sequence[int], *, threads: int, bar: Bar
) -> RuntimeTimes:
    """Return what a network takes in one runtime, whole and cut at each exit.

    Args:
        whole: with the static network.
        halves: E-1 bundles, each with one early exit in use.
        images: file of an array (N, C, H, W).
        sizes: of batches, rising.
        threads: of each worker.
        bar: advanced by one for each size.

    Raises:
        ShallowDeepError: a worker died.
    """
    with ExitStack() as stack:
        static = Contender(whole, STATIC, images, threads, stack)
        engines = [
            stack.enter_context(closing(side_workers(half, ENGINE, images, threads, every_pool=False)))[0]
            for half in halves
        ]
        columns = []
        for size in sizes:
            columns.append(_at_size(static.at(size), engines, size))
            bar.advance(1, f"batch {size}")
    table = np.asarray(columns)  # (S, 1 + 2·(E-1))
    cuts = len(halves)
    return RuntimeTimes(
        whole.backend,
        whole.precision,
        tuple(sizes),
        tuple(table[:, 0].tolist()),
        tuple(tuple(column) for column in table[:, 1 : 1 + cuts].T.tolist()),
        tuple(tuple(column) for column in table[:, 1 + cuts :].T.tolist()),
    )


def _at_size(static: Process, engines: Sequence[Process], size: int) -> list[float]:
    """Median seconds over rounds: the static network, then all up to each cut, then all behind each."""
    count = repeats_of(static, size)
    for engine in engines:
        engine.order("segments", first=0, size=size, repeats=1)  # compiles
    rounds = []
    for turn in range(ROUNDS):
        where = {"first": turn * size, "size": size}
        parts = [engine.order("segments", **where, repeats=count) for engine in engines]
        whole = static.order("time", **where, batches=count) / count
        rounds.append([whole, *(part[0] for part in parts), *(part[1] for part in parts)])
    return [float(value) for value in np.median(rounds, axis=0)]
