"""The loop over epochs and steps: one for every phase and recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

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
        loss = _run_steps(
            task, module, optimizer, settings, epoch,
            precision=precision, accelerator=accelerator, bar=bar, last_good=last_good,
        )  # fmt: skip
        _check_weights(network, epoch, last_good)
        seconds = time.perf_counter() - started
        rate = optimizer.param_groups[0]["lr"]
        accuracies = tuple(task.accuracies())
        epoch_ended(EpochRecord(name, epoch + 1, round(loss, 6), rate, accuracies, round(seconds, 3)))


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
) -> float:
    """The mean loss of one epoch, over all processes."""
    device = accelerator.device
    total = settings.epochs * task.steps
    losses = _Losses(accelerator, epoch, last_good)
    steps = 0
    for inputs, labels in task.batches(epoch, accelerator.process_index, accelerator.num_processes):
        done = (epoch * task.steps + steps) / total
        set_learning_rate(optimizer, settings.learning_rate * settings.schedule.multiplier(done))
        moved = inputs.to(device) if isinstance(inputs, Tensor) else inputs
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = module(moved)
        loss = task.loss(logits, labels.to(device), epoch)
        losses.add(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimizer.step()
        steps += 1
        bar.advance(1, f"epoch {epoch + 1}/{settings.epochs} loss {losses.last:.3f}")
    if not steps:
        raise DataError("Expected at least one training image that can be decoded, got none")
    losses.look()
    return losses.summed / steps


class _Losses:
    """The losses of an epoch's steps, looked at on the CPU at once and elsewhere every few steps.

    Looking at a number waits for the device, which then has nothing to do until the next step is there.

    Attributes:
        summed: of the steps looked at.
        last: that was looked at.
    """

    def __init__(self, accelerator: Accelerator, epoch: int, last_good: Callable[[], str]) -> None:
        self._accelerator, self._epoch, self._last_good = accelerator, epoch, last_good
        self._waiting: list[Tensor] = []
        self._every = 1 if accelerator.device.type == "cpu" else STEPS_UNSEEN
        self._seen = 0
        self.summed, self.last = 0.0, math.nan

    def add(self, loss: Tensor) -> None:
        """Take a step's loss.

        Raises:
            TrainingError: it, or one before it, is not finite.
        """
        self._waiting.append(loss)
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
        for value in values:
            self._seen += 1
            if not math.isfinite(value):
                what = f"Expected a finite loss, got {value} in epoch {self._epoch + 1}, step {self._seen}"
                raise TrainingError(f"{what}; {self._last_good()}; a lower learning rate may help")
            self.summed += value
            self.last = value


def _check_weights(network: nn.Module, epoch: int, last_good: Callable[[], str]) -> None:
    """Refuse to save weights that the last update of an epoch broke: no loss has shown it yet."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            what = f"Expected finite weights, got others in {name} after the last step of epoch {epoch + 1}"
            raise TrainingError(f"{what}; {last_good()}; a lower learning rate may help")
