"""The loop over epochs and steps: one for every phase and recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from shallowdeep.errors import TrainingError
from shallowdeep.runtime import seed_everything
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.observer import Observer
from shallowdeep.training.optimization import set_learning_rate
from shallowdeep.training.recipes import Hyperparameters
from shallowdeep.training.tasks import Task


def run_epochs(
    task: Task,
    network: ShallowDeepNetwork,
    optimizer: Optimizer,
    settings: Hyperparameters,
    *,
    phase: int,
    first_epoch: int,
    seed: int,
    precision: str,
    accelerator: Accelerator,
    observer: Observer,
    epoch_ended: Callable[[dict[str, Any]], None],
    state_path: Path,
) -> None:
    """Train ``task.module`` from ``first_epoch`` (from 0) to the last.

    Every random number is a function of (seed, phase, epoch), so that a run which resumes after any epoch gives the
    weights that an uninterrupted one gives, bit for bit on a CPU.

    Args:
        task: what is trained.
        network: the network it belongs to; put in train mode (a frozen backbone stays in eval mode).
        optimizer: over the task's parameters.
        settings: epochs and learning rates.
        phase: number of the phase, for seeds.
        first_epoch: epochs that an earlier run did.
        seed: of the run.
        precision: ``fp32``, or ``bf16`` for autocast.
        accelerator: spreads steps over processes; gradients are averaged over them.
        observer: told of steps and epochs.
        epoch_ended: saves; called with the epoch's record.
        state_path: the last good checkpoint, for messages.

    Raises:
        TrainingError: a loss is not finite; names epoch, step and last good checkpoint.
    """
    module = accelerator.prepare_model(task.module)
    device = accelerator.device
    total = settings.epochs * task.steps
    for epoch in range(first_epoch, settings.epochs):
        seed_everything(seed, phase, epoch)
        network.train()
        started, summed = time.perf_counter(), torch.zeros((), device=device)
        batches = task.batches(epoch, accelerator.process_index, accelerator.num_processes)
        for step, (inputs, labels) in enumerate(batches):
            rate = settings.learning_rate * settings.schedule.multiplier((epoch * task.steps + step) / total)
            set_learning_rate(optimizer, rate)
            inputs = inputs.to(device, non_blocking=True) if isinstance(inputs, torch.Tensor) else inputs  # noqa: PLW2901 - the same images, moved
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = module(inputs)
            loss = task.loss(logits, labels.to(device), epoch)
            if not torch.isfinite(loss):
                raise TrainingError(_not_finite(loss.item(), epoch, step, state_path))
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            optimizer.step()
            summed += loss.detach()
            observer.advanced(1, f"epoch {epoch + 1}/{settings.epochs} loss {loss.item():.3f}")
        seconds = time.perf_counter() - started
        mean = accelerator.reduce(summed, "mean").item() / task.steps
        record = {
            "epoch": epoch + 1,
            "loss": round(mean, 6),
            "learning_rate": rate,
            "tune_accuracy": task.accuracies(),
            "seconds": round(seconds, 3),
        }
        epoch_ended(record)


def _not_finite(loss: float, epoch: int, step: int, state_path: Path) -> str:
    good = f"last good checkpoint: {state_path} (after epoch {epoch})" if epoch else "no checkpoint yet"
    return f"Expected a finite loss, got {loss} in epoch {epoch + 1}, step {step + 1}; {good}; a lower learning rate may help"
