"""A whole training: phases in turn, saved after every epoch, resumable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from shallowdeep.checkpoint import Architecture, save
from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.load import DataSplits
from shallowdeep.data.loading import Batches
from shallowdeep.files import replacing
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.feature_cache import FeatureCache, plan_cache, summarise_batches
from shallowdeep.training.loop import run_epochs
from shallowdeep.training.losses import exit_weights
from shallowdeep.training.observer import Observer
from shallowdeep.training.optimization import build_optimizer
from shallowdeep.training.recipes import Hyperparameters
from shallowdeep.training.state import load_state, save_state
from shallowdeep.training.tasks import EVALUATION_BATCH, CachedHeadsTask, NetworkTask, Task

STATE, HISTORY = "training.safetensors", "history.jsonl"


@dataclass(frozen=True)
class Phase:
    """One recipe with its hyper-parameters."""

    recipe: str
    settings: Hyperparameters


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
    observer: Observer,
) -> list[dict[str, Any]]:
    """Train ``network`` through ``phases`` and save it to ``directory``.

    Args:
        network: with ``preprocessing`` and ``classes`` set; trained in place, on the accelerator's device.
        data: its splits; ``test`` is not touched.
        phases: run in turn.
        directory: the RUN; where it holds the state of an unfinished run of the same phases, that run goes on.
        architecture: how to build the backbone again, for the manifest.
        seed: of everything random.
        precision: ``fp32`` or ``bf16``.
        cache_budget: bytes that cached features may take.
        weights_dtype: of the saved weights, ``fp32`` or ``fp16``.
        accelerator: one process or many.
        observer: told how it goes.

    Returns:
        The history: one record an epoch.

    Raises:
        TrainingError: a loss is not finite.
        OutputError: the disk is full.
    """
    network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload] - a documented argument
    state_path = directory / STATE
    done: dict[str, Any] = {"phase": 0, "epoch": 0, "history": []}
    if state_path.exists():
        done = load_state(state_path, network)
    history: list[dict[str, Any]] = done["history"]
    for number, phase in enumerate(phases):
        if phase.recipe == "ic-only":
            network.freeze_backbone()
        if number < done["phase"]:
            continue
        first_epoch = done["epoch"] if number == done["phase"] else 0
        optimizer = build_optimizer(network, phase.settings)
        if first_epoch:
            load_state(state_path, network, optimizer)
        keeper = _Keeper(network, optimizer, directory, number, phase, history, accelerator, observer)
        task = _task(phase, network, data, directory, seed, precision, cache_budget, accelerator, observer)
        observer.started(phase.recipe, "steps", phase.settings.epochs * task.steps, first_epoch * task.steps)
        run_epochs(
            task, network, optimizer, phase.settings, phase=number, first_epoch=first_epoch, seed=seed,
            precision=precision, accelerator=accelerator, observer=observer, epoch_ended=keeper, state_path=state_path,
        )  # fmt: skip
    if accelerator.is_main_process:
        save(network, directory, architecture, dtype=weights_dtype)
        for leftover in [*directory.glob("features-*"), state_path]:
            leftover.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return history


@dataclass(frozen=True)
class _Keeper:
    """Saves the state and the history after every epoch."""

    network: ShallowDeepNetwork
    optimizer: Optimizer
    directory: Path
    number: int
    phase: Phase
    history: list[dict[str, Any]]
    accelerator: Accelerator
    observer: Observer

    def __call__(self, record: dict[str, Any]) -> None:
        self.history.append({"phase": self.phase.recipe, **record})
        if self.accelerator.is_main_process:
            last = record["epoch"] == self.phase.settings.epochs
            at = {"phase": self.number + 1, "epoch": 0} if last else {"phase": self.number, "epoch": record["epoch"]}
            save_state(self.directory / STATE, self.network, self.optimizer, {**at, "history": self.history})
            with replacing(self.directory / HISTORY) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in self.history))
        self.accelerator.wait_for_everyone()
        self.observer.epoch_ended(self.history[-1])


def _task(
    phase: Phase,
    network: ShallowDeepNetwork,
    data: DataSplits,
    directory: Path,
    seed: int,
    precision: str,
    cache_budget: int,
    accelerator: Accelerator,
    observer: Observer,
) -> Task:
    settings = phase.settings
    internal = [exit_.fraction for exit_ in network.exits[:-1]]

    def weights_at(epoch: int) -> Sequence[float]:
        if phase.recipe == "joint":
            return (*exit_weights(internal, epoch + 1, settings.epochs), 1.0)
        if phase.recipe == "ic-only":
            return (*[1.0] * len(internal), 0.0)
        return (*[0.0] * len(internal), 1.0)

    if phase.recipe == "ic-only":
        caches = _caches(network, data, settings.views, directory, seed, precision, cache_budget, accelerator, observer)
        if caches is not None:
            return CachedHeadsTask(network, *caches, batch_size=settings.batch_size, seed=seed)
    return NetworkTask(
        network, data, batch_size=settings.batch_size, seed=seed, weights_at=weights_at, precision=precision
    )


def _caches(
    network: ShallowDeepNetwork,
    data: DataSplits,
    views: int,
    directory: Path,
    seed: int,
    precision: str,
    budget: int,
    accelerator: Accelerator,
    observer: Observer,
) -> tuple[FeatureCache, FeatureCache] | None:
    """Filled caches of ``train`` and ``tune``, or None where features cannot be cached."""
    size = data.preprocessing.size
    tune_plan = plan_cache(network, size, len(data.tune), 1, directory, budget)
    plan = plan_cache(network, size, len(data.train), views, directory, budget - (tune_plan.bytes if tune_plan else 0))
    if plan is None or tune_plan is None:
        observer.said("Features cannot be cached (conv heads, or no room): training through the frozen backbone")
        return None
    if plan.views < views:
        observer.said(f"Caching {plan.views} of {views} augmented views: more do not fit {budget / 2**30:.1f} GiB or the disk")
    augmentation = get_augmentation(data.augmentation, size)
    train_cache = FeatureCache(directory / "features-train.bin", plan)
    tune_cache = FeatureCache(directory / "features-tune.bin", tune_plan)
    known = f"{data.fingerprint} seed {seed} {precision}"
    if not (train_cache.complete(known) and tune_cache.complete(known)):
        if accelerator.is_main_process:
            train_cache.create()
            tune_cache.create()
        accelerator.wait_for_everyone()
        observer.started("caching features", "images", plan.views * plan.samples + tune_plan.samples, 0)
        turns = [(tune_cache, data.tune, 0, None)] + [(train_cache, data.train, v, augmentation) for v in range(plan.views)]
        for cache, split, view, augmented in turns[accelerator.process_index :: accelerator.num_processes]:
            batches = Batches(
                split, data.preprocessing, EVALUATION_BATCH, augmentation=augmented, seed=seed, epoch=view
            )
            cache.fill_view(view, summarise_batches(network, batches, precision, observer))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            train_cache.finish(known)
            tune_cache.finish(known)
    return train_cache, tune_cache
