"""A whole training: phases in turn, saved after every epoch, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from shallowdeep.artifacts import CACHES, TRAINING_STATE
from shallowdeep.documents import plain
from shallowdeep.progress import Progress
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.saving import write_network
from shallowdeep.training.cached_heads import HeadCaching
from shallowdeep.training.event_files import EventFiles
from shallowdeep.training.history import EpochRecord, History, record_from, write_history
from shallowdeep.training.hyperparameters import BACKBONE, HEADS
from shallowdeep.training.loop import run_epochs
from shallowdeep.training.losses import exit_weights
from shallowdeep.training.optimization import build_optimizer
from shallowdeep.training.recipes import Phase
from shallowdeep.training.sources import BatchSource
from shallowdeep.training.state import load_state, save_state
from shallowdeep.training.tasks import Attack, NetworkTask, Task


@dataclass(frozen=True)
class Position:
    """How far a run is, as saved in its state.

    Attributes:
        phase: number of the phase, from 0; the number of phases when all are done.
        epoch: epochs of it that are done.
        views: of the feature cache that its epochs read; 0 for none.
        history: one record an epoch.
    """

    phase: int = 0
    epoch: int = 0
    views: int = 0
    history: History = ()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Position:
        """The position in a saved state."""
        history = tuple(record_from(record) for record in document["history"])
        return cls(document["phase"], document["epoch"], document["views"], history)


@dataclass(frozen=True)
class Training:
    """What all phases of a training share.

    Attributes:
        network: trained in place, on the accelerator's device.
        source: of its batches.
        directory: where its state is saved after every epoch, and found again; None to save nothing.
        seed: of everything random.
        precision: ``fp32`` or ``bf16``.
        accelerator: one process or many.
        progress: told how far it is.
        caching: features of a frozen backbone; None to run it at each step.
        attack: hardens internal classifiers: half of each batch that they are trained on is changed by it.
        weights_dtype: of the saved weights, ``fp32`` or ``fp16``.
        data: what it is trained on, for the manifest of the saved network; empty to record nothing.
        tensorboard: write event files into the directory.
    """

    network: ShallowDeepNetwork
    source: BatchSource
    directory: Path | None
    seed: int
    precision: str
    accelerator: Accelerator
    progress: Progress
    caching: HeadCaching | None = None
    attack: Attack | None = None
    weights_dtype: str = "fp32"
    data: Mapping[str, Any] = field(default_factory=dict)
    tensorboard: bool = False


def train(training: Training, phases: Sequence[Phase]) -> History:
    """Train a network through ``phases`` and save it.

    Args:
        training: what is trained, on what, where to.
        phases: run in turn. Where the directory holds the state of an unfinished training of the same phases, that
            goes on.

    Returns:
        The history: one record an epoch.

    Raises:
        TrainingError: a loss is not finite.
        OutputError: the disk is full.
    """
    network, directory, accelerator = training.network, training.directory, training.accelerator
    network.to(accelerator.device).channels_last()
    network.weights = ""
    position = Position()
    if directory is not None and (directory / TRAINING_STATE).exists():
        position = Position.from_document(load_state(directory / TRAINING_STATE, network))
        if accelerator.is_main_process:
            write_history(directory, position.history)  # a kill may have come between the state and its history
    with _event_files(training, len(position.history)) as events:
        for number, phase in enumerate(phases):
            if phase.trains == HEADS:
                network.freeze_backbone()
            if number >= position.phase:
                history = _run_phase(training, number, phase, position, events)
                position = Position(number + 1, history=history)
    if directory is not None and accelerator.is_main_process:
        write_network(network, directory, dtype=training.weights_dtype, data=training.data or None)
        for leftover in [*directory.glob(CACHES), directory / TRAINING_STATE]:
            leftover.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return position.history


def _event_files(training: Training, epochs_done: int) -> AbstractContextManager[EventFiles | None]:
    """What writes event files, in one process; None where there are to be none."""
    if training.directory is None or not (training.tensorboard and training.accelerator.is_main_process):
        return nullcontext()
    return EventFiles(training.directory, epochs_done)


def _run_phase(training: Training, number: int, phase: Phase, position: Position, events: EventFiles | None) -> History:
    """Train one phase from where ``position`` is; returns the history, that of the phases before included."""
    network = _trained(training.network, phase)
    optimizer = build_optimizer(network, phase.settings)
    if position.epoch and training.directory is not None:
        load_state(training.directory / TRAINING_STATE, training.network, optimizer)
    training.source.prepare()
    task, views = _task(training, network, phase, position)
    names = [exit_.name for exit_ in network.exits]
    keeper = _Keeper(training, optimizer, number, phase, names, views, position.history, events)
    done = position.epoch * task.steps
    with training.progress.start(phase.name, "steps", phase.settings.epochs * task.steps, done) as bar:
        run_epochs(
            task, network, optimizer, phase.settings, phase=number, name=phase.name, first_epoch=position.epoch,
            seed=training.seed, precision=training.precision, accelerator=training.accelerator, bar=bar,
            epoch_ended=keeper, last_good=keeper.last_good,
        )  # fmt: skip
    if training.accelerator.num_processes > 1:  # each has its own BatchNorm statistics; those of the first are saved
        for buffer in training.network.buffers():
            torch.distributed.broadcast(buffer, src=0)
    return keeper.history


def _trained(network: ShallowDeepNetwork, phase: Phase) -> ShallowDeepNetwork:
    """What a phase trains: of a network with internal classifiers, the backbone alone or all of it."""
    if phase.trains == BACKBONE and len(network.exits) > 1:
        return ShallowDeepNetwork.without_exits(network.backbone, network.backbone_macs)
    return network


@dataclass
class _Keeper:
    """Saves the state and the history after every epoch, by which the history grows."""

    training: Training
    optimizer: Optimizer
    number: int
    phase: Phase
    exits: Sequence[str]
    views: int
    history: History
    events: EventFiles | None

    def __call__(self, record: EpochRecord) -> None:
        training = self.training
        record = replace(record, skipped_images=training.source.skipped)
        self.history = (*self.history, record)
        if self.events is not None:
            self.events.write(len(self.history), self.exits, record)
        if training.directory is not None and training.accelerator.is_main_process:
            last = record.epoch == self.phase.settings.epochs
            position = (
                Position(self.number + 1, history=self.history)
                if last
                else Position(self.number, record.epoch, self.views, self.history)
            )
            save_state(training.directory / TRAINING_STATE, training.network, self.optimizer, plain(position))
            write_history(training.directory, self.history)
        training.accelerator.wait_for_everyone()
        training.progress.say(record.line(self.phase.settings.epochs))

    def last_good(self) -> str:
        """Which checkpoint is the last good one."""
        directory = self.training.directory
        if directory is None:
            return "no checkpoint, since there is no directory"
        if not self.history:
            return "no checkpoint yet"
        last = self.history[-1]
        return f"last good checkpoint: {directory / TRAINING_STATE} (after epoch {last.epoch} of {last.phase})"


def _task(training: Training, network: ShallowDeepNetwork, phase: Phase, position: Position) -> tuple[Task, int]:
    """The phase's task, and the views of its feature cache (0 for none)."""
    settings = phase.settings
    if phase.trains == HEADS and training.caching is not None and training.attack is None:
        begun = position.views if position.epoch else None
        cached = training.caching.task(network, settings, begun, training.accelerator, training.progress)
        if cached is not None:
            return cached
    internal = [exit_.fraction for exit_ in network.exits[:-1]]

    def weights_at(epoch: int) -> Sequence[float]:
        if phase.trains == HEADS:
            return (*[1.0] * len(internal), 0.0)
        if settings.exit_weight:
            return (*[settings.exit_weight] * len(internal), 1.0)
        return (*exit_weights(internal, epoch + 1, settings.epochs), 1.0)

    attack = None if phase.trains == BACKBONE else training.attack
    task = NetworkTask(
        network, training.source, settings, weights_at=weights_at, precision=training.precision, attack=attack
    )
    return task, 0
