"""A RUN with internal classifiers, opened for an audit: network, data, and confusion on training images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.analysis.confusion_levels import confusion_scores
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.runs.confusion_file import measured_statistics
from shallowdeep.runs.splits import own_splits, predict_split
from shallowdeep.runtime import pick_device
from shallowdeep.sdn.network import ShallowDeepNetwork

BATCH = 250  # images at a time


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """What an audit looks at.

    Attributes:
        path: of the RUN.
        network: on its device.
        splits: the data it was trained on, cut as then; of ``test``, ``tune`` and ``certify`` the readable images.
        statistics: of confusion on its training images.
        context: how it is run.
    """

    path: Path
    network: ShallowDeepNetwork
    splits: DataSplits
    statistics: ConfusionStatistics
    context: RunContext

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns images into its input."""
        return images_alone(self.splits.preprocessing)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def predicted(self, part: ImageSplit) -> ExitPredictions:
        """Predictions of all exits on a split."""
        return predict_split(self.network, part, self.preprocessing, self.context)

    def confusion(self, pred: ExitPredictions) -> NDArray[np.float64]:
        """Confusion at the end, (N,), in standard deviations of that on training images."""
        return confusion_scores(to_numpy(pred.logits), self.statistics)

    def input(self, pixels: Tensor) -> Tensor:
        """Images (n, 3, S, S) uint8 as the network takes them."""
        images = self.preprocessing.normalize(pixels.to(self.device))
        return images.contiguous(memory_format=torch.channels_last)


def open_run(run: Path, context: RunContext, data: str | None = None) -> OpenedRun:
    """Return a run, opened.

    Args:
        run: the directory.
        context: device, trust, progress and what to do with bad images.
        data: where the data it was trained on is now; None for where it was.

    Raises:
        DataError: the run has no internal classifiers.
        ShallowDeepError: it cannot be read, or its data.
    """
    network = load(run, trust=context.trust)
    if len(network.exits) == 1:
        raise DataError(
            f"Expected a run with internal classifiers, {run} has none; shallowdeep train --recipe ic-only --init {run}"
        )
    network = network.to(pick_device(context.device)).channels_last()
    splits = own_splits(run, network, data, context=context)
    test, tune, certify = (part.readable() for part in (splits.test, splits.tune, splits.certify))
    splits = replace(splits, test=test, tune=tune, certify=certify)
    statistics = measured_statistics(run, network, splits, weights=network.weights, context=context)
    return OpenedRun(run, network, splits, statistics, context)
