"""Engine and static network timed in turns, alone or beside a busy process (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from shallowdeep.bench.neighbour import busy_neighbour
from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import PairedRatio, Process, best_pool, paired_ratio


@dataclass(frozen=True)
class Pools:
    """The pool of threads that suits each side best.

    Attributes:
        engine: its name, as the backend calls it.
        static: likewise.
    """

    engine: str
    static: str


@dataclass(frozen=True)
class NeighbourTiming:
    """Engine against static network beside a busy single-threaded process, on the batches that are timed without it.

    Attributes:
        static_ms: milliseconds a batch of the static network.
        engine_ms: milliseconds a batch of the engine.
        speedup: static over engine.
        static_slowdown: of the static network: its time beside the process over its time without, in the same rounds.
        engine_slowdown: likewise of the engine.
        of_ideal: share of the ideal speed-up, which is measured without the process, that is reached.
        pools: of threads, chosen beside the process.
    """

    static_ms: float
    engine_ms: float
    speedup: PairedRatio
    static_slowdown: PairedRatio
    engine_slowdown: PairedRatio
    of_ideal: float
    pools: Pools


@dataclass
class Condition:
    """Both sides alone, or beside a busy process.

    Attributes:
        what: a few words for progress, "" for alone.
        surroundings: makes what holds while something is timed.
        chosen: process of each side, by `choose`.
        seconds: a batch of each side, one for each `turn`.
    """

    what: str
    surroundings: Callable[[], AbstractContextManager[object]]
    chosen: dict[str, Process] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {ENGINE: [], STATIC: []})

    def choose(self, engines: Sequence[Process], statics: Sequence[Process], size: int, count: int) -> None:
        """Find the process of each side whose pool of threads is fastest here, in turns of ``count`` batches."""
        with self.surroundings():
            self.chosen = {ENGINE: best_pool(engines, size, count), STATIC: best_pool(statics, size, count)}

    def turn(self, number: int, size: int, count: int) -> None:
        """Run round ``number``: each side the same ``count`` batches, in alternating order."""
        with self.surroundings():
            for name in self.chosen if number % 2 == 0 else reversed(self.chosen):
                spent = self.chosen[name].order("time", first=number * size * count, size=size, batches=count)
                self.seconds[name].append(spent / count)

    def milliseconds(self, side: str) -> float:
        """Median milliseconds a batch of a side."""
        return 1e3 * float(np.median(self.seconds[side]))

    def speedup(self) -> PairedRatio:
        """Time of the static network over that of the engine."""
        return paired_ratio(self.seconds[STATIC], self.seconds[ENGINE])

    def pools(self) -> Pools:
        """Pools of the processes chosen."""
        return Pools(self.chosen[ENGINE].pool, self.chosen[STATIC].pool)


def alone() -> Condition:
    """Return the condition without a busy process."""
    return Condition("", nullcontext)


def beside_neighbour() -> Condition:
    """Return the condition beside one busy single-threaded process, which is there only while something is timed."""
    return Condition(" beside a busy process", busy_neighbour)


def neighbour_timing(alone: Condition, beside: Condition, ideal: float) -> NeighbourTiming:
    """Return what the busy process changes.

    Args:
        alone: both sides without it.
        beside: both sides with it, in as many rounds of the same batches.
        ideal: speed-up that the exits taken allow.
    """
    speedup = beside.speedup()
    return NeighbourTiming(
        static_ms=beside.milliseconds(STATIC),
        engine_ms=beside.milliseconds(ENGINE),
        speedup=speedup,
        static_slowdown=paired_ratio(beside.seconds[STATIC], alone.seconds[STATIC]),
        engine_slowdown=paired_ratio(beside.seconds[ENGINE], alone.seconds[ENGINE]),
        of_ideal=speedup.median / ideal,
        pools=beside.pools(),
    )
