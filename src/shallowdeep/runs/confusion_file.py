"""A RUN's statistics of confusion on its own, un-augmented training images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from shallowdeep.artifacts import CONFUSION_STATISTICS
from shallowdeep.context import RunContext
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import CheckpointError
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.files import write_json
from shallowdeep.progress import Bar
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.network import ShallowDeepNetwork

MOST_IMAGES = 10_000  # a standard deviation is known to 1 % then; more would only take longer


def read_statistics(run: Path, weights: str) -> ConfusionStatistics | None:
    """Return the statistics that a run holds for its weights; None where it holds none, or older weights'.

    Args:
        run: a RUN.
        weights: SHA-256 of its weights file.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = run / CONFUSION_STATISTICS
    try:
        document: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Expected confusion statistics in {path}, got: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"Expected confusion statistics in {path}, got {type(document).__name__}")
    return ConfusionStatistics.from_dict(document, str(path)) if document.get("weights") == weights else None


def measured_statistics(
    run: Path,
    network: ShallowDeepNetwork,
    splits: DataSplits,
    *,
    weights: str,
    keep: bool = True,
    context: RunContext,
) -> ConfusionStatistics:
    """Return the statistics of a run, those that it holds or else measured on up to `MOST_IMAGES` training images.

    Args:
        run: a RUN.
        network: its own, on any device.
        splits: its data.
        weights: SHA-256 of its weights file.
        keep: write what is measured to the run.
        context: progress and batch size.

    Raises:
        ShallowDeepError: an image cannot be read, or the file cannot be written.
    """
    known = read_statistics(run, weights)
    if known is not None:
        return known
    part = splits.train
    if len(part) > MOST_IMAGES:
        part = part.subset(seeded_order(len(part), 0)[:MOST_IMAGES])
    part.prepare()
    device = next(network.parameters()).device

    def logits(bar: Bar) -> Iterator[Any]:
        with evaluating(network), torch.no_grad():
            for images, labels in Batches(part, splits.preprocessing, context.batch_size):
                yield network(images.to(device)).float().cpu().numpy()
                bar.advance(len(labels))

    with context.progress.start("measuring confusion", "training images", len(part)) as bar:
        statistics = ConfusionStatistics.over(logits(bar))
    if keep:
        write_json(
            run / CONFUSION_STATISTICS,
            {"weights": weights, "data": "train", "augmentation": "none", **statistics.to_dict()},
        )
    return statistics
