"""What one phase of training optimises: a module, its batches, its loss, and how well it does on ``tune``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import Inputs
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.equilibrium import Balanced
from shallowdeep.training.feature_cache import FeatureCache
from shallowdeep.training.hyperparameters import Hyperparameters
from shallowdeep.training.losses import Distillation, distilled_losses, exit_losses
from shallowdeep.training.sources import EVALUATION_BATCH, BatchSource


class Task(Protocol):
    """One phase of training."""

    @property
    def module(self) -> nn.Module:
        """What is trained; called on a batch's inputs it returns logits (E, B, C)."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int, rank: int, world_size: int) -> Iterable[tuple[Any, Tensor]]:
        """This process's inputs and labels (B,) in ``epoch`` (from 0): a slice of every global batch."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each exit that ``module`` returns logits of, (E,)."""

    def weights(self, epoch: int) -> Sequence[float]:
        """Of these losses in ``epoch`` (from 0), E of them; their weighted sum is minimised."""

    def accuracies(self) -> list[float]:
        """Accuracy of each exit on ``tune``, as fractions."""


Attack = Callable[[ShallowDeepNetwork, Tensor], Tensor]
"""Changes normalised images (B, 3, S, S) against a network; what it returns is trained on."""

WeightsAt = Callable[[int], Sequence[float]]
"""Weights of all E exits' losses in an epoch counted from 0."""


class NetworkTask:
    """Images through the whole network; a frozen backbone costs only its forward pass.

    Args:
        network: trained.
        source: of batches.
        settings: batch size, gradient equilibrium and distillation.
        weights_at: of the exits' losses.
        precision: of the pass over ``tune``, ``fp32`` or ``bf16``.
        attack: changes half of each batch; None for none.
    """

    def __init__(
        self,
        network: ShallowDeepNetwork,
        source: BatchSource,
        settings: Hyperparameters,
        *,
        weights_at: WeightsAt,
        precision: str,
        attack: Attack | None = None,
    ) -> None:
        self._module: nn.Module = Balanced(network) if settings.equilibrium else network
        self._network, self._source, self._attack = network, source, attack
        self._batch_size, self._weights_at, self._precision = settings.batch_size, weights_at, precision
        self._distillation = (
            Distillation(settings.distillation, settings.temperature) if settings.distillation else None
        )
        self._device = next(network.parameters()).device

    @property
    def module(self) -> nn.Module:
        """The network, or what balances its gradients."""
        return self._module

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self._source.steps(self._batch_size)

    def batches(self, epoch: int, rank: int, world_size: int) -> Iterable[tuple[Inputs, Tensor]]:
        """The source's; under attack, the first half of each batch is changed."""
        batches = self._source.batches(self._batch_size, epoch, rank, world_size, self._device)
        return batches if self._attack is None else self._attacked(batches, self._attack)

    def _attacked(self, batches: Iterable[tuple[Inputs, Tensor]], attack: Attack) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in batches:
            if not isinstance(images, Tensor):
                raise ConfigurationError("Expected images to attack, got several inputs by name")
            half = len(images) // 2
            yield torch.cat([attack(self._network, images[:half]), images[half:]]), labels

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each exit, or what the final exit teaches in it too."""
        if self._distillation is None:
            return exit_losses(logits, labels)
        return distilled_losses(logits, labels, self._distillation)

    def weights(self, epoch: int) -> Sequence[float]:
        """As the phase has them; 0 for an exit that is not trained."""
        return self._weights_at(epoch)

    def accuracies(self) -> list[float]:
        """One pass over ``tune``, without augmentation; none where there is nothing held out."""
        return tune_accuracies(self._network, self._source, self._precision)


def tune_accuracies(network: ShallowDeepNetwork, source: BatchSource, precision: str) -> list[float]:
    """Accuracy of every exit on ``tune``, as fractions; none where there is nothing held out."""
    device = next(network.parameters()).device
    right = torch.zeros(len(network.exits))
    seen = 0
    with evaluating(network), torch.no_grad():
        for images, labels in source.tune(device):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(images)
            right += (logits.argmax(-1).cpu() == labels.cpu()).sum(dim=1)
            seen += len(labels)
    return [round(float(value), 6) for value in right / seen] if seen else []


class HeadBank(nn.Module):
    """All internal classifiers on cached summaries: (B, P, F) each → logits (E-1, B, C)."""

    def __init__(self, network: ShallowDeepNetwork) -> None:
        super().__init__()
        self.heads = network.internal_classifiers

    def forward(self, summaries: Sequence[Tensor]) -> Tensor:
        """Logits (E-1, B, C)."""
        heads = cast("Iterable[InternalClassifier]", self.heads)
        logits: list[Tensor] = []
        for head, x in zip(heads, summaries, strict=True):
            logits.append(head.classify(x, logits[-1] if logits else None))
        return torch.stack(logits)


class CachedHeadsTask:
    """Internal classifiers alone, on cached features; epoch e uses view e mod V.

    Args:
        network: its internal classifiers are trained.
        train: features of the training split.
        tune: features of ``tune``, of one view without augmentation.
        batch_size: images a step, over all processes.
        seed: of the order.
        final_accuracy: the final classifier's on ``tune``, which does not change.
    """

    def __init__(
        self,
        network: ShallowDeepNetwork,
        train: FeatureCache,
        tune: FeatureCache,
        *,
        batch_size: int,
        seed: int,
        final_accuracy: float,
    ) -> None:
        if not len(train.labels):
            raise DataError("Expected at least one training image that can be decoded, got none")
        self._bank = HeadBank(network)
        self.train, self.tune, self.seed, self.batch_size = train, tune, seed, batch_size
        self.final_accuracy = final_accuracy
        self.device = next(network.parameters()).device

    @property
    def module(self) -> nn.Module:
        """The internal classifiers."""
        return self._bank

    @property
    def steps(self) -> int:
        """Whole batches in an epoch."""
        return max(1, len(self.train.labels) // self.batch_size)

    def batches(self, epoch: int, rank: int, world_size: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        """Shuffled by (seed, epoch) alone.

        Raises:
            ConfigurationError: the processes cannot share a batch evenly.
        """
        images = len(self.train.labels)
        if self.batch_size % world_size or images < world_size:
            raise ConfigurationError(
                f"Expected a batch size that {world_size} processes share evenly, and an image for each, "
                f"got {self.batch_size} and {images} images"
            )
        order = torch.from_numpy(seeded_order(images, self.seed, epoch))
        share = min(self.batch_size, images) // world_size
        for step in range(self.steps):
            first = step * self.batch_size + rank * share
            indices = order[first : first + share]
            rows = self.train.rows(epoch % self.train.plan.views, indices)
            yield [row.to(self.device) for row in rows], self.train.labels[indices]

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each internal classifier, (E-1,)."""
        return exit_losses(logits, labels)

    def weights(self, epoch: int) -> Sequence[float]:
        """1 for each internal classifier."""
        del epoch
        return [1.0] * len(self._bank.heads)

    def accuracies(self) -> list[float]:
        """On the cached ``tune`` summaries; the final classifier's stays what it was."""
        right = torch.zeros(len(self._bank.heads))
        labels = self.tune.labels
        with evaluating(self._bank), torch.no_grad():
            for first in range(0, len(labels), EVALUATION_BATCH):
                indices = torch.arange(first, min(first + EVALUATION_BATCH, len(labels)))
                rows = [row.to(self.device) for row in self.tune.rows(0, indices)]
                right += (self._bank(rows).argmax(-1).cpu() == labels[indices]).sum(dim=1)
        return [*(round(float(value), 6) for value in right / max(len(labels), 1)), self.final_accuracy]
