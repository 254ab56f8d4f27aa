"""Settings to a trained RUN."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from shallowdeep.artifacts import CONFIG
from shallowdeep.calibration.promisable import promisable
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.data_splits import DataSplits, Fingerprints
from shallowdeep.data.repeated import repeated_images
from shallowdeep.files import exclusive, reading
from shallowdeep.progress import first_process
from shallowdeep.runs.config import TrainConfig, read_config, write_config
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.data_record import check_data, check_record, has_images, record_of
from shallowdeep.runs.directory import Standing, begin, claim, require_space, tidy
from shallowdeep.runs.paths import absolute, located, same_place, shown
from shallowdeep.runs.placement import Placement, measures, read_placement, target_of, told, write_placement
from shallowdeep.runs.preparation import phases_of, prepare_data, prepare_network, prepare_placement
from shallowdeep.runs.preprocessing_choice import settled
from shallowdeep.runs.skipped_images import each_once, read_skipped, skipped_names, write_skipped
from shallowdeep.runtime import pick_device, pick_precision
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.security.deepsloth import GREY_LEVELS, DeepSloth
from shallowdeep.training.cached_heads import HeadCaching
from shallowdeep.training.caching import Caching
from shallowdeep.training.event_files import require_tensorboard
from shallowdeep.training.history import History, read_history
from shallowdeep.training.processes import accelerator_on
from shallowdeep.training.recipes import Phase
from shallowdeep.training.run import Training, train
from shallowdeep.training.sources import SplitSource
from shallowdeep.workflows.expected_accuracy import require_accuracy

SEEN = (
    "They are cut from the training images: if the weights were trained on these, promises mean nothing; images that "
    "they have not seen go to calibration/CLASS of the data, or to calibrate --data FOLDER"
)
FEW_STEPS = 150  # resnet18 is still near chance after some 100 steps from random weights
_REACH = 2.5  # times the bound that the steps of an attack add up to, so that few of them reach it


@dataclass(frozen=True)
class TrainedExit:
    """One exit after a training.

    Attributes:
        name: of the stage it sits on.
        relative_cost: MACs to reach it over the backbone's, as a fraction.
        tune_accuracy: on ``tune`` after the last epoch, as a fraction; None where it was not looked at.
    """

    name: str
    relative_cost: float
    tune_accuracy: float | None


@dataclass(frozen=True)
class TrainingSummary:
    """What the command ``train`` tells.

    Attributes:
        out: the RUN.
        dataset: its name.
        model: name of the network.
        recipe: that it was trained by.
        epochs: over all phases.
        seconds: that they took.
        skipped_images: left out, since they could not be decoded.
        skipped_files: their names, as far as they are known; runs of version 0.1.0 do not tell.
        exits: one each.
    """

    out: str
    dataset: str
    model: str
    recipe: str
    epochs: int
    seconds: float
    skipped_images: int
    exits: tuple[TrainedExit, ...]
    skipped_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """What a training gave.

    Attributes:
        directory: the RUN.
        config: its settings.
        network: trained.
        history: one record an epoch.
    """

    directory: Path
    config: TrainConfig
    network: ShallowDeepNetwork
    history: History

    def summary(self) -> TrainingSummary:
        """Where it is, what it is, and how each exit did on ``tune`` last."""
        known = self.history[-1].tune_accuracy if self.history else ()
        accuracies = [*known, *[None] * (len(self.network.exits) - len(known))]
        return TrainingSummary(
            out=str(self.directory),
            dataset=Path(self.config.data).expanduser().resolve().name,  # a name stays what it is
            model=self.config.model,
            recipe=self.config.recipe,
            epochs=len(self.history),
            seconds=sum(record.seconds for record in self.history),
            skipped_images=max((record.skipped_images for record in self.history), default=0),
            exits=tuple(
                TrainedExit(exit_.name, cost, accuracy)
                for exit_, cost, accuracy in zip(self.network.exits, self.network.costs, accuracies, strict=True)
            ),
            skipped_files=each_once(read_skipped(self.directory, ("train", "tune"))),
        )


def accept_any(data: DataSplits) -> None:
    """Look at no data."""
    del data


def train_run(
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    examine: Callable[[DataSplits], object] = accept_any,
    context: RunContext,
) -> TrainedRun:
    """Train what ``config`` says into the RUN ``directory``.

    Args:
        config: the settings.
        directory: made here, or an earlier run's.
        resume: go on with the unfinished run in it; one that is finished stays as it is.
        overwrite: replace the run in it, once everything is known to be right.
        examine: looks at the data before anything is trained, and may raise.
        context: whether the manifest of ``config.init`` may name code to run, and progress; the rest of how a training
            runs stands in ``config``.

    Raises:
        ShallowDeepError: any of its kinds, for bad settings, data, models or a full disk; nothing old is lost.
    """
    if resume and (directory / CONFIG).exists():
        config = located(config, directory)
    config, note = _settled(checked(config), directory, resume=resume)
    if config.tensorboard:
        require_tensorboard()
    phases = phases_of(config)
    known = read_placement(directory) if resume and measures(config) else None
    if measures(config) and known is None:
        target_of(config)  # refuses what cannot be measured here
    claim(directory, config, resume=resume, overwrite=overwrite)  # a refusal leaves no new directory
    with exclusive(directory) if first_process() else nullcontext():
        return _train_alone(
            config, phases, directory, note, resume=resume, overwrite=overwrite, examine=examine, context=context
        )


def _train_alone(
    config: TrainConfig,
    phases: Sequence[Phase],
    directory: Path,
    note: str | None,
    *,
    resume: bool,
    overwrite: bool,
    examine: Callable[[DataSplits], object],
    context: RunContext,
) -> TrainedRun:
    """Train into a directory that no other process writes to; ``note`` is said once nothing is refused."""
    standing = claim(directory, config, resume=resume, overwrite=overwrite)
    if standing is Standing.FINISHED:
        context.progress.say(f"{directory} was trained to the end before: nothing to do")
        known = (
            not config.init and read_manifest(directory).model.name == config.model
        )  # named by the caller, not a file
        network = load(directory, trust=context.trust or known)
        return TrainedRun(directory, absolute(config), network, read_history(directory))
    accelerator = accelerator_on(pick_device(config.device))
    with reading(Path(config.init)) if config.init else nullcontext():
        data = _checked_data(config, directory, standing, context)
        examine(data)
        placement = _placement(config, data, directory, standing, context)
        network = prepare_network(config, data, trust=context.trust, placement=placement, progress=context.progress)
    reached = None
    if config.expect_accuracy and standing is Standing.FRESH:
        reached = require_accuracy(config, network.to(accelerator.device), data, context)
    require_space(directory, network)
    seen = SEEN if (config.weights or config.pretrained) and data.cut_from is not None else None
    few = _few_steps(config, phases, len(data.train))
    exits = None if placement is None else told(placement)
    order = _class_order(data.classes) if config.weights else None
    for line in filter(None, (note, reached, few, promisable(len(data.certify), data.cut_from), seen, order, exits)):
        context.progress.say(line)
    kept = absolute(config)
    accelerator.wait_for_everyone()  # every process has seen the directory as it was
    if accelerator.is_main_process:
        if standing is Standing.FRESH:
            begin(directory, kept, data.fingerprints)
        elif not same_place("data", read_config(directory / CONFIG).data, kept.data):
            write_config(kept, directory)  # its data has moved, as the fingerprints say
        write_placement(directory, placement)
        tidy(directory)
    accelerator.wait_for_everyone()
    precision = pick_precision(config.precision, accelerator.device)
    wanted = Caching(directory, config.views, int(config.cache_budget * 2**30), config.seed, precision, config.workers)
    training = Training(
        network, SplitSource(data, config.seed, config.workers), directory, config.seed, precision, accelerator,
        context.progress,
        caching=HeadCaching(data, wanted), attack=_attack(config, data, accelerator.device),
        weights_dtype=config.weights_dtype, data=record_of(config, data.fingerprints),
        tensorboard=config.tensorboard,
    )  # fmt: skip
    return TrainedRun(directory, kept, network, _trained(training, phases, data, directory))


def _checked_data(config: TrainConfig, directory: Path, standing: Standing, context: RunContext) -> DataSplits:
    """The data, cut as a run that goes on was, and as the run that its backbone comes from."""
    whole = replace(config, data=absolute(config).data)  # so that images have one name in all commands
    data = prepare_data(whole, context.progress)
    if standing is Standing.UNFINISHED:
        check_data(directory, data.fingerprints, shown(config.data))
    if config.init:
        check_record(Path(config.init))
        if _same_data(config, Path(config.init), data.fingerprints):
            check_data(Path(config.init), data.fingerprints, shown(config.data))
    if standing is Standing.FRESH:
        for line in filter(None, (*data.notes, repeated_images(data))):
            context.progress.say(line)
    return data


def _placement(
    config: TrainConfig, data: DataSplits, directory: Path, standing: Standing, context: RunContext
) -> Placement | None:
    """Where exits stand by time: as a run that goes on was begun, or measured by the first process for all of them."""
    if not measures(config):
        return None
    known = read_placement(directory) if standing is Standing.UNFINISHED else None
    if known is None and first_process():
        known = prepare_placement(config, data, trust=context.trust, progress=context.progress)
    shared: list[Placement | None] = broadcast_object_list([known])
    return shared[0]


def _trained(training: Training, phases: Sequence[Phase], data: DataSplits, directory: Path) -> History:
    """The history of the whole training; the names of images that were left out go to the run."""
    history = train(training, phases)
    if first_process():
        write_skipped(directory, skipped_names(data.train, data.tune))
    return history


def _settled(config: TrainConfig, directory: Path, *, resume: bool) -> tuple[TrainConfig, str | None]:
    """``config`` with the preprocessing it takes from elsewhere, and what to say of it."""
    begun = resume and (directory / CONFIG).exists()
    return settled(config, read_config(directory / CONFIG) if begun else None)


def _few_steps(config: TrainConfig, phases: Sequence[Phase], images: int) -> str | None:
    """A warning where a backbone from random weights gets too few steps to learn anything."""
    steps = sum(max(1, images // phase.settings.batch_size) * phase.settings.epochs for phase in phases)
    if config.init or config.weights or config.pretrained or steps >= FEW_STEPS:
        return None
    count = f"{steps} step{'' if steps == 1 else 's'}"
    return (
        f"Only {count} from random weights: the network may stay near chance. More --epochs, a smaller --batch-size, "
        "or weights to start from (--weights, --pretrained, --init) help"
    )


def _class_order(classes: Sequence[str]) -> str | None:
    """A warning where libraries number classes otherwise, so that weights would answer with other names."""
    natural = sorted(classes, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name.lower())])
    if natural == list(classes):
        return None
    ours, theirs = (", ".join(names[:3]) for names in (classes, natural))
    return (
        f"Classes are numbered {ours} ..., as torchvision numbers folders; timm's reader numbers them {theirs} ...: "
        "--expect-accuracy tells whether the weights agree"
    )


def _attack(config: TrainConfig, data: DataSplits, device: torch.device) -> DeepSloth | None:
    """What the exits are hardened against."""
    steps = config.adversarial_steps
    if not steps:
        return None
    epsilon = config.adversarial_epsilon / GREY_LEVELS
    return DeepSloth(
        images_alone(data.preprocessing), epsilon=epsilon, step=min(1.0, _REACH * epsilon / steps), iterations=steps,
        precision=pick_precision(config.precision, device),
    )  # fmt: skip


def _same_data(config: TrainConfig, init: Path, data: Fingerprints) -> bool:
    """Whether the run at ``init`` was trained on the dataset of ``config``: on its images, or on what was there."""
    if has_images(init, data):
        return True
    path = init / CONFIG
    if not path.exists():
        return False
    return same_place("data", located(read_config(path), init).data, config.data)
