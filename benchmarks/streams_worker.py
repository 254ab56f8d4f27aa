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
from shallowdeep.inference.backends.openvino_runtime import length_of, longest_of
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.text_input import fitted, token_counts

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
        self.longest = longest_of(bundle)
        self.queues: dict[tuple[int, int], Any] = {}

    def time(self, first: int, size: int, batches: int) -> float:
        """Seconds for so many batches, two of them in flight: twice as many are timed, so that none runs alone."""
        inputs = [self.fitted(self.batch(first + number * size, size)) for number in range(STREAMS * batches)]
        queues = [self.queue(size, x.shape[1] if self.longest else 0) for x in inputs]
        for queue, x in zip(queues, inputs, strict=True):
            for _ in range(STREAMS):
                queue.start_async({0: openvino.Tensor(x)})
            queue.wait_all()
        started = time.perf_counter()
        for queue, x in zip(queues, inputs, strict=True):
            queue.start_async({0: openvino.Tensor(x)})
        for queue in queues:
            queue.wait_all()
        return (time.perf_counter() - started) / STREAMS

    def fitted(self, batch: Any) -> Any:  # noqa: ANN401 - an array
        """A batch of texts cut or padded to a length that models are compiled for; images as they are."""
        return fitted(batch, min(length_of(int(token_counts(batch).max())), self.longest)) if self.longest else batch

    def queue(self, size: int, length: int) -> Any:  # noqa: ANN401 - openvino has no types
        """Two streams of the network for a size of batch and a length of texts."""
        if (size, length) not in self.queues:
            compiled = openvino.Core().compile_model(sized(self.model, size, length), "CPU", self.settings)
            self.queues[size, length] = openvino.AsyncInferQueue(compiled, STREAMS)
        return self.queues[size, length]


if __name__ == "__main__":
    bundle_path, _, _, threads, images_path = sys.argv[1:]
    worker = StreamsWorker(np.load(images_path, mmap_mode="r"), int(threads))
    worker.prepare(Path(bundle_path))
    serve(worker)
