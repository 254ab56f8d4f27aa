"""A worker like `shallowdeep.bench.worker` for OpenVINO's static network on two streams, two batches in flight.

    python benchmarks/streams_worker.py BUNDLE static POOL THREADS IMAGES.npy

What it tells is time a batch at the highest throughput, not how long one batch waits.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from shallowdeep.bench.worker import Worker, serve
from shallowdeep.inference.backends.openvino_models import options, sized
from shallowdeep.inference.bundle import read_bundle

STREAMS = 2


class StreamsWorker(Worker):
    """Times batches that follow each other without waiting."""

    def prepare(self, path: Path) -> None:
        """Open the static network of a bundle."""
        bundle = read_bundle(path, static=True)
        self.model: Any = openvino.Core().read_model(path / str(bundle.static))
        self.settings = {
            **options(self.threads, bundle.precision), "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(STREAMS),
        }  # fmt: skip
        self.queues: dict[int, Any] = {}

    def time(self, first: int, size: int, batches: int) -> float:
        """Seconds for so many batches, two of them in flight."""
        inputs = [openvino.Tensor(self.batch(first + number * size, size)) for number in range(batches)]
        if size not in self.queues:
            compiled = openvino.Core().compile_model(sized(self.model, size), "CPU", self.settings)
            self.queues[size] = openvino.AsyncInferQueue(compiled, STREAMS)
        queue = self.queues[size]
        for _ in range(STREAMS):
            queue.start_async({0: inputs[0]})
        queue.wait_all()
        started = time.perf_counter()
        for images in inputs:
            queue.start_async({0: images})
        queue.wait_all()
        return time.perf_counter() - started


if __name__ == "__main__":
    bundle_path, _, _, threads, images_path = sys.argv[1:]
    worker = StreamsWorker(np.load(images_path, mmap_mode="r"), int(threads))
    worker.prepare(Path(bundle_path))
    serve(worker)
