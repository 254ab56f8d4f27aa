"""One pass over data: the logits of all exits for every image."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import torch
from torch import Tensor

from shallowdeep.errors import DataError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.progress import SILENT, Progress
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import Inputs, moved
from shallowdeep.sdn.network import ShallowDeepNetwork


def predict_exits(
    network: ShallowDeepNetwork,
    batches: Iterable[tuple[Inputs, Tensor]],
    *,
    precision: str = "fp32",
    progress: Progress = SILENT,
    what: str = "predicting",
    samples: int | None = None,
) -> ExitPredictions:
    """Predictions of every exit for every image, in the order given.

    Args:
        network: run in eval mode on the device it is on, and left in its mode.
        batches: (images (B, 3, S, S) float, labels (B,)); or several inputs by name in place of images.
        precision: ``fp32``, or ``bf16`` for autocast.
        progress: told how many images are done.
        what: names the work for ``progress``.
        samples: how many images there are, where that is known.

    Raises:
        DataError: there is no image.
    """
    device = next(network.parameters()).device
    autocast = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
    logits, labels = [], []
    with evaluating(network), torch.no_grad(), autocast, progress.start(what, "images", samples) as bar:
        for images, targets in batches:
            logits.append(network(moved(images, device)).float().cpu())  # (E, B, C)
            labels.append(targets.cpu())
            bar.advance(len(targets))
    if not logits:
        raise DataError("Expected at least one image to predict, got none")
    found = torch.cat(logits, dim=1).numpy(), torch.cat(labels).numpy()
    return ExitPredictions(*found, network.costs, weights=network.weights, backend="torch")
