"""Settings to a trained RUN."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from shallowdeep.checkpoint import Architecture
from shallowdeep.data.load import DataSplits
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.experiment.config import CONFIG, TrainConfig, checked, phases_of, read_config, write_config
from shallowdeep.experiment.preparation import DataProgress, prepare_data, prepare_network
from shallowdeep.runtime import pick_device, pick_precision
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.observer import Observer
from shallowdeep.training.run import STATE, train


@dataclass(frozen=True)
class TrainedRun:
    """What a training gave.

    Attributes:
        directory: the RUN.
        config: its settings.
        network: trained.
        data: the splits it was trained on.
        history: one record an epoch.
    """

    directory: Path
    config: TrainConfig
    network: ShallowDeepNetwork
    data: DataSplits
    history: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """The ``train`` command's JSON: where it is, what it is, and how each exit did on ``tune`` last."""
        accuracies = self.history[-1]["tune_accuracy"] if self.history else []
        accuracies = [*accuracies, *[None] * (len(self.network.exits) - len(accuracies))]
        return {
            "out": str(self.directory),
            "dataset": self.data.name,
            "model": self.config.model,
            "recipe": self.config.recipe,
            "epochs": len(self.history),
            "seconds": sum(record["seconds"] for record in self.history),
            "skipped_images": len(self.data.train.skipped) + len(self.data.tune.skipped),
            "exits": [
                {"name": exit_.name, "relative_cost": cost, "tune_accuracy": accuracy}
                for exit_, cost, accuracy in zip(self.network.exits, self.network.costs, accuracies, strict=True)
            ],
        }


def run_training(
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trust: bool = False,
    observer: Observer,
    data_progress: DataProgress | None = None,
) -> TrainedRun:
    """Train what ``config`` says into the RUN ``directory``.

    Raises:
        ShallowDeepError: any of its kinds, for bad settings, data, models or a full disk; nothing old is lost.
    """
    config = checked(config)
    accelerator = Accelerator(cpu=pick_device(config.device).type == "cpu")
    precision = pick_precision(config.precision, accelerator.device)
    fresh = claim(directory, config, resume=resume, overwrite=overwrite)
    phases = phases_of(config)
    data = prepare_data(config, data_progress)
    network = prepare_network(config, data, trust=trust)
    require_space(directory, network)
    if fresh and accelerator.is_main_process:
        directory.mkdir(parents=True, exist_ok=True)
        write_config(config, directory)
    accelerator.wait_for_everyone()
    architecture = Architecture(config.model, len(data.classes), data.preprocessing.size)
    history = train(
        network, data, phases, directory, architecture, seed=config.seed, precision=precision,
        cache_budget=int(config.cache_budget * 2**30), weights_dtype=config.weights_dtype,
        accelerator=accelerator, observer=observer,
    )  # fmt: skip
    return TrainedRun(directory, config, network, data, history)




def claim(directory: Path, config: TrainConfig, *, resume: bool, overwrite: bool) -> bool:
    """Whether ``directory`` is to be started afresh; False where an unfinished run goes on.

    Raises:
        OutputError: it exists already, and neither ``resume`` nor ``overwrite`` is given.
        ConfigurationError: the run to be resumed has other settings.
    """
    path = directory / CONFIG
    if resume and path.exists():
        saved = read_config(path)
        for field in fields(TrainConfig):
            before, now = getattr(saved, field.name), getattr(config, field.name)
            if before != now:
                raise ConfigurationError(
                    f"Expected the settings of {path} to resume, got another {field.name}: {now!r} instead of {before!r}"
                )
        return False
    if directory.is_dir() and any(directory.iterdir()):
        if not overwrite:
            raise OutputError(f"Expected a new directory for the run, {directory} exists; --resume goes on with it, --overwrite replaces it")
        (directory / STATE).unlink(missing_ok=True)
    elif directory.exists() and not directory.is_dir():
        raise OutputError(f"Expected a directory for the run, {directory} is a file")
    return True


def require_space(directory: Path, network: nn.Module) -> None:
    """Refuse before the first step a disk that cannot hold two states (weights and momenta) and the result.

    Raises:
        OutputError: naming the room needed and the room there is.
    """
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    needed = 8 * weights
    existing = next(folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(f"Expected {needed / 2**20:.0f} MiB of free space for {directory}, got {free / 2**20:.0f} MiB: no space left on the disk")
