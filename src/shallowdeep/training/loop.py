"""The loop over epochs and steps: one for every phase and recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from shallowdeep.errors import DataError, TrainingError
from shallowdeep.progress import Bar
from shallowdeep.runtime import seed_everything
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.history import EpochRecord
from shallowdeep.training.hyperparameters import Hyperparameters
from shallowdeep.training.optimization import set_learning_rate
from shallowdeep.training.tasks import Task

STEPS_UNSEEN = 16  # steps on a device between looks at their losses
_OF_ONE = "more than 1 value per channel"  # how BatchNorm refuses a batch of one


def run_epochs(
    task: Task,
    network: ShallowDeepNetwork,
    optimizer: Optimizer,
    settings: Hyperparameters,
    *,
    phase: int,
    name: str,
    first_epoch: int,
    seed: int,
    precision: str,
    accelerator: Accelerator,
    bar: Bar,
    epoch_ended: Callable[[EpochRecord], None],
    last_good: Callable[[], str],
) -> None:
    """Train ``task.module`` from ``first_epoch`` (from 0) to the last.

    Every random number is a function of (seed, phase, epoch, process), so that a run which resumes after any epoch
    gives the weights that an uninterrupted one gives, bit for bit on a CPU.

    Args:
        task: what is trained.
        network: the network it belongs to; put in train mode (a frozen backbone stays in eval mode).
        optimizer: over the task's parameters.
        settings: epochs and learning rates.
        phase: number of the phase, for seeds.
        name: of the phase, for the records.
        first_epoch: epochs that an earlier run did.
        seed: of the run.
        precision: ``fp32``, or ``bf16`` for autocast.
        accelerator: spreads steps over processes; gradients are averaged over them.
        bar: moved by each step.
        epoch_ended: saves; called with the epoch's record.
        last_good: says which checkpoint is the last good one, for messages.

    Raises:
        TrainingError: a loss, or a weight after an epoch, is not finite; names epoch, step and last good checkpoint.
        DataError: no training image can be read.
    """
    module = accelerator.prepare_model(task.module)
    for epoch in range(first_epoch, settings.epochs):
        seed_everything(seed, phase, epoch, accelerator.process_index)
        network.train()
        started = time.perf_counter()
        losses, images = _run_steps(
            task, module, optimizer, settings, epoch,
            precision=precision, accelerator=accelerator, bar=bar, last_good=last_good,
        )  # fmt: skip
        _check_weights(network, epoch, last_good)
        seconds = time.perf_counter() - started
        epoch_ended(
            EpochRecord(
                phase=name,
                epoch=epoch + 1,
                loss=round(losses.summed, 6),
                learning_rate=optimizer.param_groups[0]["lr"],
                tune_accuracy=tuple(task.accuracies()),
                seconds=round(seconds, 3),
                exit_losses=tuple(round(value, 6) for value in losses.of_exits),
                exit_weights=losses.weights,
                images=images,
            )
        )


def _run_steps(
    task: Task,
    module: nn.Module,
    optimizer: Optimizer,
    settings: Hyperparameters,
    epoch: int,
    *,
    precision: str,
    accelerator: Accelerator,
    bar: Bar,
    last_good: Callable[[], str],
) -> tuple[_Losses, int]:
    """The losses of one epoch, and how many images it was over, of all processes."""
    device = accelerator.device
    total = settings.epochs * task.steps
    weights = tuple(task.weights(epoch))
    losses = _Losses(weights, accelerator, epoch, last_good)
    factors = torch.tensor(weights, device=device)
    steps = images = 0
    for inputs, labels in task.batches(epoch, accelerator.process_index, accelerator.num_processes):
        done = (epoch * task.steps + steps) / total
        set_learning_rate(optimizer, settings.learning_rate * settings.schedule.multiplier(done))
        moved = inputs.to(device) if isinstance(inputs, Tensor) else inputs  # others are there already
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            try:
                logits = module(moved)
            except ValueError as error:
                if len(labels) != 1 or _OF_ONE not in str(error):
                    raise
                if steps and accelerator.num_processes == 1:
                    continue  # the rest of an epoch, which its BatchNorm cannot normalise
                raise DataError(
                    "Expected batches of at least two images, which BatchNorm normalises by each other, got one image"
                ) from error
        of_exits = task.losses(logits, labels.to(device))
        losses.add(of_exits.detach())
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward((of_exits * factors).sum())
        optimizer.step()
        steps += 1
        images += len(labels)
        bar.advance(1, f"epoch {epoch + 1}/{settings.epochs} loss {losses.last:.3f}")
    if not steps:
        raise DataError("Expected at least one training image that can be decoded, got none")
    losses.look()
    return losses, int(accelerator.reduce(torch.tensor(images, device=device), "sum"))


class _Losses:
    """The losses of an epoch's steps, looked at on the CPU at once and elsewhere every few steps.

    Looking at a number waits for the device, which then has nothing to do until the next step is there.

    Args:
        weights: of the exits, 0 for one that is not trained.
        accelerator: one process or many.
        epoch: from 0, for messages.
        last_good: says which checkpoint is the last good one, for messages.
    """

    def __init__(
        self, weights: Sequence[float], accelerator: Accelerator, epoch: int, last_good: Callable[[], str]
    ) -> None:
        self._all_weights, self._accelerator, self._epoch, self._last_good = weights, accelerator, epoch, last_good
        self._trained = [place for place, weight in enumerate(weights) if weight]
        self._waiting: list[Tensor] = []
        self._every = 1 if accelerator.device.type == "cpu" else STEPS_UNSEEN
        self._seen = 0
        self._totals = [0.0] * len(weights)
        self._last = math.nan

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the exits that are trained."""
        return tuple(self._all_weights[place] for place in self._trained)

    @property
    def of_exits(self) -> tuple[float, ...]:
        """Mean over the steps looked at, of each exit that is trained."""
        return tuple(self._totals[place] / self._seen for place in self._trained)

    @property
    def summed(self) -> float:
        """Mean over the steps looked at of what is minimised, the weighted sum over exits."""
        return _weighted(self.weights, self.of_exits)

    @property
    def last(self) -> float:
        """Weighted mean over the exits in the step that was looked at last; NaN before the first."""
        return self._last / sum(self.weights)

    def add(self, losses: Tensor) -> None:
        """Take a step's losses, (E,).

        Raises:
            TrainingError: one, or one of a step before it, is not finite.
        """
        self._waiting.append(losses)
        if len(self._waiting) == self._every:
            self.look()

    def look(self) -> None:
        """Look at the losses that wait; means over processes, the same everywhere: all stop, or none.

        Raises:
            TrainingError: one is not finite.
        """
        if not self._waiting:
            return
        values = self._accelerator.reduce(torch.stack(self._waiting), "mean").tolist()
        self._waiting.clear()
        for of_exits in values:
            self._seen += 1
            self._last = _weighted(self._all_weights, of_exits)  # 0 times NaN is NaN
            if not math.isfinite(self._last):
                what = f"Expected a finite loss, got {self._last} in epoch {self._epoch + 1}, step {self._seen}"
                raise TrainingError(f"{what}; {self._last_good()}; a lower --learning-rate (with --overwrite) may help")
            self._totals = [total + loss for total, loss in zip(self._totals, of_exits, strict=True)]


def _weighted(weights: Sequence[float], losses: Sequence[float]) -> float:
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))


def _check_weights(network: nn.Module, epoch: int, last_good: Callable[[], str]) -> None:
    """Refuse to save weights that the last update of an epoch broke: no loss has shown it yet."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            what = f"Expected finite weights, got others in {name} after the last step of epoch {epoch + 1}"
            raise TrainingError(f"{what}; {last_good()}; a lower learning rate may help")
