"""A whole training: phases in turn, saved after every epoch, resumable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from shallowdeep.checkpoint import Architecture, save
from shallowdeep.data.load import DataSplits
from shallowdeep.errors import CheckpointError
from shallowdeep.files import replacing
from shallowdeep.progress import Progress
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.caching import CACHES, Caching, filled_caches, plan_caches, planned_before
from shallowdeep.training.loop import run_epochs
from shallowdeep.training.losses import Distillation, exit_weights
from shallowdeep.training.optimization import build_optimizer
from shallowdeep.training.recipes import Hyperparameters
from shallowdeep.training.state import load_state, save_state
from shallowdeep.training.tasks import Attack, CachedHeadsTask, NetworkTask, Task, tune_accuracies

STATE, HISTORY = "training.safetensors", "history.jsonl"


@dataclass(frozen=True)
class Phase:
    """One recipe with its hyper-parameters."""

    recipe: str
    settings: Hyperparameters


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
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Setting:
    """What all phases of a run share."""

    network: ShallowDeepNetwork
    data: DataSplits
    directory: Path
    caching: Caching
    accelerator: Accelerator
    progress: Progress
    attack: Attack | None


def train(
    network: ShallowDeepNetwork,
    data: DataSplits,
    phases: Sequence[Phase],
    directory: Path,
    architecture: Architecture,
    *,
    seed: int,
    precision: str,
    cache_budget: int,
    weights_dtype: str,
    accelerator: Accelerator,
    progress: Progress,
    attack: Attack | None = None,
) -> list[dict[str, Any]]:
    """Train ``network`` through ``phases`` and save it to ``directory``.

    Args:
        network: with ``preprocessing`` and ``classes`` set; trained in place, on the accelerator's device.
        data: its splits; ``test`` and ``certify`` are not touched.
        phases: run in turn.
        directory: the RUN; where it holds the state of an unfinished run of the same phases, that run goes on.
        architecture: how to build the backbone again, for the manifest.
        seed: of everything random.
        precision: ``fp32`` or ``bf16``.
        cache_budget: bytes that cached features may take.
        weights_dtype: of the saved weights, ``fp32`` or ``fp16``.
        accelerator: one process or many.
        progress: told how far it is.
        attack: hardens internal classifiers: half of each batch that they are trained on is changed by it.

    Returns:
        The history: one record an epoch.

    Raises:
        TrainingError: a loss is not finite.
        OutputError: the disk is full.
    """
    network.to(accelerator.device).to(memory_format=torch.channels_last)
    caching = Caching(directory, views=0, budget=cache_budget, seed=seed, precision=precision)
    setting = _Setting(network, data, directory, caching, accelerator, progress, attack)
    position = Position()
    if (directory / STATE).exists():
        position = Position(**load_state(directory / STATE, network))
        if accelerator.is_main_process:
            _write_history(directory, position.history)  # a kill may have come between the state and its history
    for number, phase in enumerate(phases):
        if phase.recipe == "ic-only":
            network.freeze_backbone()
        if number >= position.phase:
            _run_phase(
                setting, number, phase, position if number == position.phase else Position(history=position.history)
            )
    if accelerator.is_main_process:
        save(network, directory, architecture, dtype=weights_dtype)
        for leftover in [*directory.glob(CACHES), directory / STATE]:
            leftover.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return position.history


def epoch_line(record: dict[str, Any]) -> str:
    """Return what is said of an epoch, by its record in the history."""
    accuracies = " ".join(f"{100 * value:.1f}" for value in record["tune_accuracy"])
    return (
        f"{record['phase']} epoch {record['epoch']}: loss {record['loss']:.4f}, tune accuracy % {accuracies} "
        f"({record['seconds']:.0f} s)"
    )


def read_history(directory: Path) -> list[dict[str, Any]]:
    """The records in a RUN's history, one an epoch.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        return [dict(json.loads(line)) for line in (directory / HISTORY).read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"Expected a JSON record a line in {directory / HISTORY}, got: {error}") from error


def _write_history(directory: Path, history: Sequence[dict[str, Any]]) -> None:
    with replacing(directory / HISTORY) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in history))


def _run_phase(setting: _Setting, number: int, phase: Phase, position: Position) -> None:
    """Train one phase from ``position`` on."""
    network = _trained(setting.network, phase.recipe)
    optimizer = build_optimizer(network, phase.settings)
    if position.epoch:
        load_state(setting.directory / STATE, setting.network, optimizer)
    setting.data.tune.prepare()
    task, views = _task(setting, network, phase, position)
    keeper = _Keeper(setting, optimizer, number, phase, views, position.history)
    done = position.epoch * task.steps
    with setting.progress.start(phase.recipe, "steps", phase.settings.epochs * task.steps, done) as bar:
        run_epochs(
            task, network, optimizer, phase.settings, phase=number, first_epoch=position.epoch,
            seed=setting.caching.seed, precision=setting.caching.precision, accelerator=setting.accelerator, bar=bar,
            epoch_ended=keeper, last_good=keeper.last_good,
        )  # fmt: skip
    if setting.accelerator.num_processes > 1:  # each has its own BatchNorm statistics; those of the first are saved
        for buffer in setting.network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _trained(network: ShallowDeepNetwork, recipe: str) -> ShallowDeepNetwork:
    """What a recipe trains: of a network with internal classifiers, ``backbone`` takes the backbone alone."""
    if recipe == "backbone" and len(network.exits) > 1:
        return ShallowDeepNetwork.without_exits(network.backbone, network.backbone_macs)
    return network


@dataclass(frozen=True)
class _Keeper:
    """Saves the state and the history after every epoch."""

    setting: _Setting
    optimizer: Optimizer
    number: int
    phase: Phase
    views: int
    history: list[dict[str, Any]]

    def __call__(self, record: dict[str, Any]) -> None:
        setting = self.setting
        skipped = len(setting.data.train.skipped) + len(setting.data.tune.skipped)
        self.history.append({"phase": self.phase.recipe, **record, "skipped_images": skipped})
        if setting.accelerator.is_main_process:
            position = {"phase": self.number, "epoch": record["epoch"], "views": self.views, "history": self.history}
            if record["epoch"] == self.phase.settings.epochs:
                position.update(phase=self.number + 1, epoch=0, views=0)
            save_state(setting.directory / STATE, setting.network, self.optimizer, position)
            _write_history(setting.directory, self.history)
        setting.accelerator.wait_for_everyone()
        setting.progress.say(epoch_line(self.history[-1]))

    def last_good(self) -> str:
        """Which checkpoint is the last good one."""
        if not self.history:
            return "no checkpoint yet"
        last = self.history[-1]
        return (
            f"last good checkpoint: {self.setting.directory / STATE} (after epoch {last['epoch']} of {last['phase']})"
        )


def _task(setting: _Setting, network: ShallowDeepNetwork, phase: Phase, position: Position) -> tuple[Task, int]:
    """The phase's task, and the views of its feature cache (0 for none)."""
    settings = phase.settings
    if phase.recipe == "ic-only" and setting.attack is None:  # an attack's images change with the heads
        wanted = replace(setting.caching, views=settings.views)
        if position.epoch:
            plans = planned_before(network, setting.data, wanted, position.views, setting.progress)
        else:
            plans = plan_caches(network, setting.data, wanted, setting.progress)
        if plans is not None:
            caches = filled_caches(network, setting.data, plans, wanted, setting.accelerator, progress=setting.progress)
            final = tune_accuracies(network, setting.data, wanted.precision)[-1]
            task = CachedHeadsTask(
                network, *caches, batch_size=settings.batch_size, seed=wanted.seed, final_accuracy=final
            )
            return task, plans[0].views
    internal = [exit_.fraction for exit_ in network.exits[:-1]]

    def weights_at(epoch: int) -> Sequence[float]:
        if phase.recipe == "ic-only":
            return (*[1.0] * len(internal), 0.0)
        if settings.exit_weight:
            return (*[settings.exit_weight] * len(internal), 1.0)
        return (*exit_weights(internal, epoch + 1, settings.epochs), 1.0)

    return (
        NetworkTask(
            network, setting.data, batch_size=settings.batch_size, seed=setting.caching.seed, weights_at=weights_at,
            precision=setting.caching.precision, equilibrium=settings.equilibrium,
            distillation=Distillation(settings.distillation, settings.temperature) if settings.distillation else None,
            attack=None if phase.recipe == "backbone" else setting.attack,
        ),
        0,
    )  # fmt: skip
