"""Logits of all exits as a runtime computes them: what a promise about that runtime rests on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.errors import DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.backends.backend import Backend
from shallowdeep.inference.backends.registry import open_segments
from shallowdeep.inference.entering import entering
from shallowdeep.inference.export import BundleWriter
from shallowdeep.inference.precision import runtime_name
from shallowdeep.progress import SILENT, Bar, Progress, SilentBar


class RuntimeExits:
    """A network with all its exits in a runtime, as `predict` runs it on a split; a context manager.

    Args:
        writer: of the network's bundles for the runtime.
        progress: told how the network is written.

    Attributes:
        name: of the runtime, with its precision.
    """

    def __init__(self, writer: BundleWriter, progress: Progress = SILENT) -> None:
        network = writer.network
        self.name = runtime_name(writer.backend, writer.precision.name)
        self._costs, self._weights, self._exits = network.costs, network.weights, len(network.exits)
        self._inputs = network.inputs
        every = shared_threshold(NEVER, self._exits)
        self._folder = TemporaryDirectory()  # kept meanwhile: runtimes read files when they need them
        bundle = writer.write(every, Path(self._folder.name) / "bundle", static=False, progress=progress)
        self._runtime: Backend = open_segments(bundle, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def predict(self, batches: Iterable[tuple[Tensor, Tensor]], bar: Bar | None = None) -> ExitPredictions:
        """Return predictions of every exit, in the order given.

        Args:
            batches: (images (B, C, H, W) float32, labels (B,)).
            bar: advanced by the images that are done.

        Raises:
            DataError: there is no image.
        """
        logits, labels = [], []
        for images, targets in batches:
            largest = self._runtime.largest or len(images)
            logits += [self._all_exits(images[start : start + largest]) for start in range(0, len(images), largest)]
            labels.append(to_numpy(targets))
            (bar or SilentBar()).advance(len(targets))
        if not logits:
            raise DataError("Expected at least one image to predict, got none")
        found = np.concatenate(logits, axis=1), np.concatenate(labels)
        return ExitPredictions(*found, self._costs, weights=self._weights, backend=self.name)

    def _all_exits(self, images: Tensor) -> NDArray[np.float32]:
        """Logits (E, n, C)."""
        (x, beside, _), logits = entering(self._runtime, images, self._inputs), None
        found = []
        for number in range(self._exits):
            x, logits = self._runtime.run(number, x, logits, beside)
            found.append(np.array(to_numpy(logits), dtype=np.float32))
        return np.stack(found)
