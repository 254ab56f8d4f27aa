"""One worker of `bench` in a process of its own: it opens one side of a bundle and runs it when told.

    python -m shallowdeep.bench.worker BUNDLE engine|static POOL THREADS IMAGES.npy

Orders come as JSON, one a line, on standard input; each is answered by one line on standard output. Pools of threads
spin while they wait, so workers share no process; and one that waits for an order costs nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.inference.backends.backend import NOTHING, Backend
from shallowdeep.inference.backends.registry import backend_module
from shallowdeep.inference.bundle import Bundle, read_bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.entering import entering

Floats = NDArray[np.float32]
ENGINE, STATIC = "engine", "static"
_ARGUMENTS = 5
_KIB = 1024


class TimedBackend:
    """A backend that counts the time its segments take.

    Args:
        backend: does the work.

    Attributes:
        seconds: inside segments so far.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self.macs_per_byte, self.seconds = backend, backend.macs_per_byte, 0.0
        self.largest, self.rows, self.length = backend.largest, backend.rows, backend.length
        self.beside = backend.beside

    def accept(self, images: Array) -> Array:
        """What the backend accepts."""
        return self._backend.accept(images)

    def run(
        self, number: int, x: Array, previous: Array | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Array, Array]:
        """What the backend returns."""
        started = time.perf_counter()
        result = self._backend.run(number, x, previous, beside)
        self.seconds += time.perf_counter() - started
        return result


class Worker:
    """Answers orders; each is a method, its arguments the rest of the order."""

    def __init__(self, images: Floats, threads: int) -> None:
        self.images, self.threads = images, threads
        self.call: Callable[[Floats], Any] = lambda x: x
        self.engine: EarlyExitEngine | None = None
        self.opened = 0
        self.warm = 0

    def open(self, bundle: Bundle, side: str, pool: str) -> None:
        """Open one side of the bundle."""
        if side == ENGINE:
            self.engine = EarlyExitEngine(bundle, threads=self.threads, pool=pool)
            self.call = self.engine
        else:
            self.call = backend_module(bundle.backend).open_static(bundle, self.threads, pool)

    def batch(self, first: int, size: int) -> Floats:
        """The images from ``first`` on, round and round."""
        places = np.arange(first, first + size) % len(self.images)
        return np.ascontiguousarray(self.images[places])

    def time(self, first: int, size: int, batches: int) -> float:
        """Seconds for so many batches; making them is not counted, nor is what is compiled, nor a batch before them."""
        if self.engine is not None and size > self.warm:
            self.engine.warm_up(size)
            self.warm = size
        inputs = [self.batch(first + number * size, size) for number in range(batches)]
        self.call(inputs[0])
        started = time.perf_counter()
        for images in inputs:
            self.call(images)
        return time.perf_counter() - started

    def segments(self, first: int, size: int, repeats: int) -> list[float]:
        """Median seconds of each segment when the whole batch runs through all of them."""
        engine = self._engine()
        seconds: list[list[float]] = [[] for _ in engine.segments]
        for repeat in range(repeats):
            given = self.batch(first + repeat * size, size)
            (x, beside, _), logits = entering(engine.backend, given, engine.inputs), None
            for number in range(len(engine.segments)):
                started = time.perf_counter()
                x, logits = engine.backend.run(number, x, logits, beside)
                seconds[number].append(time.perf_counter() - started)
        return [statistics.median(values) for values in seconds]

    def overhead(self, first: int, size: int, batches: int) -> float:
        """Share of the engine's time that is spent outside calls of segments."""
        engine = copy(self._engine())  # the same segments in an engine of its own
        engine.backend = timed = TimedBackend(engine.backend)
        inputs = [self.batch(first + number * size, size) for number in range(batches)]
        engine(inputs[0])
        timed.seconds, begun = 0.0, time.perf_counter()
        for images in inputs:
            engine(images)
        total = time.perf_counter() - begun
        return 1 - timed.seconds / total

    def answers(self, first: int, size: int) -> dict[str, list[int]]:
        """Label of each of so many images, and from the engine the exit where each stopped."""
        given = self.call(self.batch(first, size))
        if self.engine is None:
            return {"labels": to_numpy(given).argmax(axis=-1).tolist()}
        return {"labels": to_numpy(given.labels).tolist(), "exits": to_numpy(given.exits).tolist()}

    def memory(self) -> dict[str, int]:
        """Bytes: most that the process has had resident, and what it had when it was ready.

        Read from the kernel's account of this process alone; the maximum that `getrusage` tells is the parent's where
        that was larger. Where there is no such account both are 0.
        """
        return {"peak": _resident("VmHWM"), "opened": self.opened}

    def _engine(self) -> EarlyExitEngine:
        if self.engine is None:
            raise ValueError("Expected the engine, got the static network")
        return self.engine


def _resident(line: str) -> int:
    """A size in the kernel's account of this process, in bytes; 0 where there is none."""
    account = Path("/proc/self/status")
    if not account.exists():
        return 0
    sizes = [entry.split()[1] for entry in account.read_text().splitlines() if entry.startswith(f"{line}:")]
    return int(sizes[0]) * _KIB if sizes else 0


def serve(worker: Worker) -> None:
    """Answer orders until standard input ends."""
    worker.opened = _resident("VmRSS")
    sys.stdout.write(json.dumps("ready") + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(worker, order.pop("do"))(**order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Open what the arguments say, and answer orders."""
    if len(arguments) != _ARGUMENTS:
        raise SystemExit(__doc__)
    bundle, side, pool, threads, images = arguments
    worker = Worker(np.load(Path(images), mmap_mode="r"), int(threads))
    worker.open(read_bundle(bundle), side, pool)
    serve(worker)


if __name__ == "__main__":
    main(sys.argv[1:])
