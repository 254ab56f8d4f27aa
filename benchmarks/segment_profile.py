"""Where an engine's time goes at one size of batch: in which segments, on how many samples, and outside of them.

    python benchmarks/segment_profile.py BUNDLE IMAGES.npy 64

IMAGES.npy holds normalised images (N, C, H, W). Everything runs in this process: compare its figures with each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from shallowdeep.bench.worker import TimedBackend
from shallowdeep.exits.arrays import Array
from shallowdeep.inference.backends.backend import NOTHING
from shallowdeep.inference.backends.registry import backend_module
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.engine import EarlyExitEngine

ROUNDS = 4
MOST_BATCHES = 32

Floats = NDArray[np.float32]


class Counting(TimedBackend):
    """A backend that notes each call: segment, samples, samples computed, seconds."""

    def __init__(self, engine: EarlyExitEngine) -> None:
        super().__init__(engine.backend)
        self.calls: list[tuple[int, int, int, float]] = []

    def run(
        self, number: int, x: Array, previous: Array | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Array, Array]:
        """What the backend returns."""
        before = self.seconds
        result = super().run(number, x, previous, beside)
        self.calls.append((number, len(x), self.rows(len(x)), self.seconds - before))
        return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("size", type=int)
    given = parser.parse_args()
    images: Floats = np.load(given.images)
    starts = range(0, len(images) - given.size + 1, given.size)[:MOST_BATCHES]
    batches = [np.ascontiguousarray(images[start : start + given.size]) for start in starts]
    bundle = read_bundle(given.bundle, static=True)
    engine = EarlyExitEngine(bundle)
    engine.warm_up(given.size)
    static = backend_module(bundle.backend).open_static(bundle, None, "process")
    sides: dict[str, Callable[[Floats], object]] = {"static": static, "engine": engine}
    for name, call in [*sides.items(), *sides.items()]:
        spent = []
        for batch in batches * ROUNDS:
            started = perf_counter()
            call(batch)
            spent.append(perf_counter() - started)
        print(f"{name}: {1e3 * np.median(spent):.2f} ms a batch")
    engine.backend = counting = Counting(engine)
    for batch in batches * ROUNDS:
        engine(batch)
    rows = np.asarray(counting.calls)
    for number in range(len(engine.segments)):
        own = rows[rows[:, 0] == number]
        each = 1e3 * own[:, 3].sum() / (ROUNDS * len(batches))
        print(
            f"segment {number}: {each:.2f} ms a batch, {own[:, 1].mean():.1f} samples, {own[:, 2].mean():.1f} computed"
        )


if __name__ == "__main__":
    main()
