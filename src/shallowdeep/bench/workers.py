"""Workers in processes of their own that take turns, and the ratio of their times (no torch)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from shallowdeep.errors import ShallowDeepError
from shallowdeep.inference.backends.registry import backend_module
from shallowdeep.inference.bundle import Bundle

TRIALS = 3  # rounds that choose a worker's pool
SECONDS_A_TURN = 0.2
BOOTSTRAP_ROUNDS = 10_000
_MOST_BATCHES = 200  # in a turn
_WORKER = ("-m", "shallowdeep.bench.worker")


@dataclass(frozen=True)
class Process:
    """A worker in its process.

    Attributes:
        pool: its setting of threads.
        handle: the process.
        messages: file of what it writes to standard error; a pipe that nobody reads would hold it up.
    """

    pool: str
    handle: subprocess.Popen[str]
    messages: IO[bytes]

    def order(self, do: str, **arguments: int) -> Any:  # noqa: ANN401 - whatever the order returns
        """Have something done, and wait for the answer.

        Raises:
            ShallowDeepError: the process died.
        """
        if self.handle.stdin is None or self.handle.stdout is None:
            raise ShallowDeepError("Expected a worker with pipes, got one without")
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
            self.messages.seek(0)
            last = (self.messages.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise ShallowDeepError(
                f"Expected a worker to answer, got its end (status {self.handle.returncode}): {last}"
            )
        return json.loads(line)


@dataclass(frozen=True)
class PairedRatio:
    """Ratio of two times measured in turns, in the same rounds.

    Attributes:
        median: over the rounds.
        low: end of a 95 % bootstrap interval of the median, over rounds.
        high: its other end.
    """

    median: float
    low: float
    high: float


def start(pool: str, command: Sequence[str], threads: int) -> Process:
    """Start a worker; its first answer says that it is ready."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
    handle = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, text=True, env=environment,
    )  # fmt: skip
    return Process(pool, handle, messages)


def side_workers(bundle: Bundle, side: str, images: Path, threads: int, *, every_pool: bool = True) -> list[Process]:
    """Start processes of one side of a bundle, one for each pool of threads that its backend has.

    Args:
        bundle: of which the static network is there where that is run.
        side: ``engine`` or ``static``.
        images: file of an array (N, C, H, W).
        threads: of each process.
        every_pool: False for the pool alone that is best in general.
    """
    return [
        start(pool, [*_WORKER, str(bundle.path), side, pool, str(threads), str(images)], threads)
        for pool in backend_module(bundle.backend).POOLS[: None if every_pool else 1]
    ]


@contextlib.contextmanager
def closing(processes: list[Process]) -> Iterator[list[Process]]:
    """Wait until all are ready; end them in any case."""
    try:
        for process in processes:
            process.answer()
        yield processes
    finally:
        for process in processes:
            # Its pipes are closed, not read to their end, since a child of it may hold them open.
            with process.messages, contextlib.suppress(BrokenPipeError), process.handle:  # an order may be left in them
                process.handle.kill()


def batches_a_turn(processes: Sequence[Process], size: int) -> int:
    """How many batches of a size make a turn of the fastest of these long enough to time."""
    seconds = min(process.order("time", first=0, size=size, batches=2) / 2 for process in processes)
    return int(min(max(1, SECONDS_A_TURN / seconds), _MOST_BATCHES))


def best_pool(processes: Sequence[Process], size: int, count: int) -> Process:
    """The process that is fastest in a few rounds."""
    if len(processes) == 1:
        return processes[0]
    seconds = np.asarray(
        [
            [process.order("time", first=turn * size * count, size=size, batches=count) for process in processes]
            for turn in range(TRIALS)
        ]
    )
    return processes[int(np.median(seconds, axis=0).argmin())]


def paired_ratio(slower: Sequence[float], faster: Sequence[float]) -> PairedRatio:
    """Median of the rounds' ratios slower/faster, with a 95 % bootstrap interval over rounds."""
    ratios = np.asarray(slower) / np.asarray(faster)
    generator = np.random.default_rng(0)
    medians = np.median(ratios[generator.integers(len(ratios), size=(BOOTSTRAP_ROUNDS, len(ratios)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return PairedRatio(float(np.median(ratios)), float(low), float(high))
