"""Summaries of a frozen backbone's stage outputs, for every image and several augmented views, on disk.

While only internal classifiers train, nothing before them changes: what their parameter-free half makes of each
image can be computed once. Gradients are those of training through the frozen trunk on the same views, up to the
rounding of the float16 numbers that are kept.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.files import cannot_write, replacing, write_json
from shallowdeep.input_spec import images_spec
from shallowdeep.progress import Bar
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import example_of
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import ShallowDeepNetwork

LARGEST_HALF = 65504.0  # float16's; larger features are clamped to it
BYTES = 2  # a float16
FREE_SHARE = 0.9  # of the free disk that a cache may take


@dataclass(frozen=True)
class CachePlan:
    """How large a cache is.

    Attributes:
        shapes: (P, F) of each internal classifier's summary.
        samples: N, images.
        views: V, augmented copies of each.
    """

    shapes: tuple[tuple[int, int], ...]
    samples: int
    views: int

    @property
    def width(self) -> int:
        """D, numbers kept for one image in one view."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return self.views * self.samples * self.width * BYTES


def plan_cache(
    network: ShallowDeepNetwork, shape: Sequence[int], samples: int, *, views: int, path: Path, budget: int
) -> CachePlan | None:
    """The largest cache of at most ``views`` views that fits ``budget`` bytes and the disk; None where no view fits.

    Args:
        network: every internal classifier must be cacheable, else None is returned.
        shape: (C, H, W) of the images.
        samples: N.
        views: V, how many are wanted.
        path: where the cache will be. Its disk is asked for its free space; a file already there counts as free.
        budget: bytes.
    """
    if not all(classifier.cacheable for classifier in _classifiers(network)):
        return None
    device = next(network.parameters()).device
    with torch.no_grad(), evaluating(network):
        inputs = network.inputs or (images_spec(shape),)
        summaries = network.summaries(example_of(inputs, 1, device))
    shapes = tuple((summary.shape[1], summary.shape[2]) for summary in summaries)
    one = CachePlan(shapes, samples, 1)
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    held = path.stat().st_size if path.exists() else 0
    room = min(budget, int(FREE_SHARE * (shutil.disk_usage(existing).free + held)))
    fitting = min(views, room // one.bytes)
    return CachePlan(shapes, samples, fitting) if fitting >= 1 else None


def _classifiers(network: ShallowDeepNetwork) -> Sequence[InternalClassifier]:
    return cast("Sequence[InternalClassifier]", network.internal_classifiers)


class FeatureCache:
    """Memory-mapped summaries (V, N, D) float16 and labels (N,).

    Args:
        path: of the file with the summaries; the labels and a marker that it is complete stand beside it.
        plan: its size.
    """

    def __init__(self, path: Path, plan: CachePlan) -> None:
        self.path, self.plan = path, plan
        self._values: Tensor | None = None
        self._labels: Tensor | None = None

    @property
    def _beside(self) -> tuple[Path, Path]:
        return self.path.with_suffix(".labels.npy"), self.path.with_suffix(".json")

    def _description(self, fingerprint: str) -> dict[str, object]:
        shapes = [list(shape) for shape in self.plan.shapes]
        return {"of": fingerprint, "shapes": shapes, "samples": self.plan.samples, "views": self.plan.views}

    def complete(self, fingerprint: str) -> bool:
        """Whether an earlier run finished this very cache."""
        try:
            return bool(json.loads(self._beside[1].read_text()) == self._description(fingerprint))
        except (OSError, ValueError):
            return False

    def finish(self, fingerprint: str) -> None:
        """Mark the cache as complete, for a run that resumes."""
        write_json(self._beside[1], self._description(fingerprint))

    def create(self) -> None:
        """Reserve the room now: writing through a memory map to a full disk would kill the process.

        Raises:
            OutputError: the disk cannot hold it.
        """
        self.remove()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self.plan.bytes)
                else:
                    file.truncate(self.plan.bytes)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise cannot_write(self.path, error) from error

    def fill_view(self, view: int, batches: Iterable[tuple[NDArray[np.float16], Tensor]]) -> None:
        """Write one view's summaries (B, D) as they come; images that were left out leave rows unused at the end."""
        shape = (self.plan.views, self.plan.samples, self.plan.width)
        values = np.memmap(self.path, dtype=np.float16, mode="r+", shape=shape)
        found = []
        row = 0
        for features, labels in batches:
            values[view, row : row + len(labels)] = features
            found.append(labels)
            row += len(labels)
        values.flush()  # before the marker says that the cache is complete
        if view == 0:
            with replacing(self._beside[0]) as temporary:
                np.save(temporary, torch.cat(found).numpy() if found else np.zeros(0, dtype=np.int64))

    @property
    def labels(self) -> Tensor:
        """(N,) long, of the images that could be read."""
        if self._labels is None:
            self._labels = torch.from_numpy(np.load(self._beside[0]))
        return self._labels

    def rows(self, view: int, indices: Tensor) -> list[Tensor]:
        """Summaries of some images in one view.

        Args:
            view: which, in [0, V).
            indices: (B,) long.

        Returns:
            One float32 tensor (B, P, F) for each internal classifier.
        """
        if self._values is None:
            shape = (self.plan.views, self.plan.samples, self.plan.width)
            # Copy-on-write: torch wants writable memory; nothing is ever written through it.
            self._values = torch.from_numpy(np.memmap(self.path, dtype=np.float16, mode="c", shape=shape))
        picked = self._values[view].index_select(0, indices).float()
        parts = torch.split(picked, [math.prod(shape) for shape in self.plan.shapes], dim=1)
        return [part.view(-1, *shape) for part, shape in zip(parts, self.plan.shapes, strict=True)]

    def remove(self) -> None:
        """Delete the files."""
        self._values = self._labels = None
        for path in (self.path, *self._beside):
            path.unlink(missing_ok=True)


def summarise_batches(
    network: ShallowDeepNetwork, batches: Iterable[tuple[Tensor, Tensor]], precision: str, bar: Bar
) -> Iterator[tuple[NDArray[np.float16], Tensor]]:
    """For each batch the concatenated summaries (B, D) and the labels (B,)."""
    device = next(network.parameters()).device
    with evaluating(network), torch.no_grad():
        for images, labels in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                summaries = [summary.flatten(1).float() for summary in network.summaries(images.to(device))]
            joined = torch.cat(summaries, dim=1).clamp_(-LARGEST_HALF, LARGEST_HALF)
            bar.advance(len(labels))
            yield joined.half().cpu().numpy(), labels
