"""Wall time of the engine against the static network: processes take turns, ratios are paired (no torch)."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError, ShallowDeepError
from shallowdeep.inference.backends.registry import backend_module
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.contender import ENGINE, STATIC

BATCH_SIZES = (1, 8, 32, 64, 256)
ROUNDS = 15
TRIALS = 3  # rounds that choose a contender's pool
SECONDS_A_TURN = 0.2
RESAMPLES = 10_000
_SEGMENT_REPEATS = 5
_CONTENDER = ("-m", "shallowdeep.inference.contender")
_MOST_BATCHES = 200  # in a turn


@dataclass(frozen=True)
class Process:
    """A contender in its process.

    Attributes:
        pool: its setting of threads.
        handle: the process.
    """

    pool: str
    handle: subprocess.Popen[str]

    def order(self, do: str, **arguments: int) -> Any:  # noqa: ANN401 - whatever the order returns
        """Have something done, and wait for the answer.

        Raises:
            ShallowDeepError: the process died.
        """
        if self.handle.stdin is None or self.handle.stdout is None:
            raise ShallowDeepError("Expected a contender with pipes, got one without")
        with contextlib.suppress(BrokenPipeError):  # its answer will be missing
            self.handle.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.handle.stdin.flush()
        return self.answer()

    def answer(self) -> Any:  # noqa: ANN401 - whatever the order returns
        """The next line of the process.

        Raises:
            ShallowDeepError: the process died.
        """
        line = self.handle.stdout.readline() if self.handle.stdout is not None else ""
        if not line:
            self.handle.wait()
            problem = self.handle.stderr.read() if self.handle.stderr is not None else ""
            last = (problem.strip().splitlines() or ["no message"])[-1]
            raise ShallowDeepError(
                f"Expected a contender to answer, got its end (status {self.handle.returncode}): {last}"
            )
        return json.loads(line)


def start(pool: str, command: Sequence[str], threads: int) -> Process:
    """Start a contender; its first answer says that it is ready."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    handle = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    return Process(pool, handle)


@contextlib.contextmanager
def closing(processes: list[Process]) -> Iterator[list[Process]]:
    """Wait until all are ready; end them in any case."""
    try:
        for process in processes:
            process.answer()
        yield processes
    finally:
        for process in processes:
            process.handle.kill()
            process.handle.communicate()


def contenders(bundle: Bundle, side: str, images: Path, threads: int) -> list[Process]:
    """Processes of one side of a bundle, one for each pool of its backend."""
    return [
        start(pool, [*_CONTENDER, str(bundle.path), side, pool, str(threads), str(images)], threads)
        for pool in backend_module(bundle.backend).POOLS
    ]


def duel(
    bundle: Bundle,
    images: NDArray[np.float32],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    rounds: int = ROUNDS,
    threads: int,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, Any]:
    """Time a bundle's engine against its static network.

    In every round each runs the same batches once, in alternating order; which pool of threads suits each best is
    found by a few rounds before. The ideal is the static network stopped where the engine stops: for every image the
    share of the segments' time that lies before its exit, segments timed in the same run on whole batches.

    Args:
        bundle: with its static network.
        images: (N, 3, S, S) normalised; real ones, since they decide who leaves where.
        batch_sizes: to measure.
        rounds: for each.
        threads: of each contender.
        progress: told after each round.

    Returns:
        The ``bench`` document.

    Raises:
        ConfigurationError: the bundle has no static network, or there are no images.
        ShallowDeepError: a contender died.
    """
    if bundle.static is None:
        raise ConfigurationError(
            f"Expected a bundle with its static network, {bundle.path} has none; export it without --no-static"
        )
    if not len(images) or rounds < 1 or not batch_sizes or min(batch_sizes) < 1:
        raise ConfigurationError("Expected images, rounds and batch sizes of at least 1 to measure, got none")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "images.npy"
        np.save(file, images)
        with (
            closing(contenders(bundle, ENGINE, file, threads)) as engines,
            closing(contenders(bundle, STATIC, file, threads)) as statics,
        ):
            exits = np.asarray(engines[0].order("exits", size=64))
            sides = _Sides(bundle, engines, statics, exits)
            batches = [_at_size(sides, size, rounds, progress) for size in batch_sizes]
            peaks = {
                side: min(process.order("memory") for process in processes)
                for side, processes in ((ENGINE, engines), (STATIC, statics))
            }
    return {
        "backend": bundle.backend,
        "model": bundle.model,
        "images": len(images),
        "rounds": rounds,
        "machine": machine(threads),
        "batches": batches,
        "peak_memory": {
            "engine_bytes": peaks[ENGINE],
            "static_bytes": peaks[STATIC],
            "ratio": peaks[ENGINE] / peaks[STATIC],
        },
    }


@dataclass(frozen=True)
class _Sides:
    """Both sides' processes, and the exit of every image."""

    bundle: Bundle
    engines: Sequence[Process]
    statics: Sequence[Process]
    exits: NDArray[np.int64]


def _at_size(sides: _Sides, size: int, rounds: int, progress: Callable[[int, str], None] | None) -> dict[str, Any]:
    """One batch size."""
    bundle, engines, statics, exits = sides.bundle, sides.engines, sides.statics, sides.exits
    estimate = statics[0].order("time", first=0, size=size, batches=2) / 2
    count = batches_a_turn(estimate)
    engine, static = (best_pool(side, size, count) for side in (engines, statics))
    times: dict[str, list[float]] = {ENGINE: [], STATIC: []}
    segments = []
    for number in range(rounds):
        turns = [(ENGINE, engine), (STATIC, static)]
        first = number * size * count
        for side, process in turns if number % 2 == 0 else reversed(turns):
            times[side].append(process.order("time", first=first, size=size, batches=count) / count)
        segments.append(engine.order("segments", first=first, size=size, repeats=_SEGMENT_REPEATS))
        if progress is not None:
            progress(1, f"batch {size}: {np.median(times[STATIC]) / np.median(times[ENGINE]):.2f}x")
    overhead = [engine.order("overhead", first=n * size * count, size=size, batches=count) for n in range(TRIALS)]
    spans = np.median(np.asarray(segments), axis=0)
    share = np.cumsum(spans) / spans.sum()  # (K,) of the time that lies before each exit in use
    places = {segment.exit: place for place, segment in enumerate(bundle.segments)}
    taken = np.asarray([places[int(exit_)] for exit_ in exits])
    costs = np.asarray([segment.relative_cost for segment in bundle.segments])
    speedup = paired_ratio(times[STATIC], times[ENGINE])
    ideal = float(1 / share[taken].mean())
    return {
        "batch_size": size,
        "static_ms": 1e3 * float(np.median(times[STATIC])),
        "engine_ms": 1e3 * float(np.median(times[ENGINE])),
        "speedup": speedup,
        "ideal_speedup": ideal,
        "ideal_speedup_macs": float(1 / costs[taken].mean()),
        "of_ideal": speedup["median"] / ideal,
        "relative_cost": float(costs[taken].mean()),
        "exit_shares": [float(np.mean(exits == exit_)) for exit_ in range(bundle.policy.exits)],
        "overhead_share": float(np.median(overhead)),
        "segment_ms": (1e3 * spans).tolist(),
        "pools": {"engine": engine.pool, "static": static.pool},
    }


def batches_a_turn(seconds: float) -> int:
    """How many batches make a turn long enough to time, one batch taking so many seconds."""
    return int(min(max(1, SECONDS_A_TURN / seconds), _MOST_BATCHES))


def best_pool(processes: Sequence[Process], size: int, count: int) -> Process:
    """The process that is fastest in a few rounds, the first of them to warm up."""
    if len(processes) == 1:
        return processes[0]
    seconds = np.asarray(
        [
            [process.order("time", first=turn * size * count, size=size, batches=count) for process in processes]
            for turn in range(TRIALS + 1)
        ]
    )
    return processes[int(np.median(seconds[1:], axis=0).argmin())]


def paired_ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """Median of the rounds' ratios slower/faster, with a 95 % bootstrap interval over rounds."""
    ratios = np.asarray(slower) / np.asarray(faster)
    generator = np.random.default_rng(0)
    medians = np.median(ratios[generator.integers(len(ratios), size=(RESAMPLES, len(ratios)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def machine(threads: int) -> dict[str, Any]:
    """What figures were measured on, and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(names) or os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }
