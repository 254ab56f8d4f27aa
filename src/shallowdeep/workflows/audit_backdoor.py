"""A backdoor under study: poison training data, train, convert with clean and with poisoned data, and look."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from shallowdeep.artifacts import BACKDOOR_AUDIT, STUDY
from shallowdeep.audits.backdoor_audit import PRESET, BackdoorAudit
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import dataset_classes
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.files import exclusive, reading, write_json
from shallowdeep.runs.audit_files import write_audit
from shallowdeep.runs.config import BackdoorAttack, TrainConfig
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.directory import claim, discard
from shallowdeep.runs.opened_run import OpenedRun, open_run
from shallowdeep.runs.preparation import prepare_data, prepare_network
from shallowdeep.runtime import seed_everything
from shallowdeep.security.poisoning import Poisoning
from shallowdeep.security.triggers import make_trigger, square_of
from shallowdeep.workflows.backdoored_run import BackdooredRun
from shallowdeep.workflows.train import train_run

BACKBONE, CLEAN, POISONED = "backbone", "clean-ics", "poisoned-ics"
RATIO, CLEAN_LABEL_RATIO = 0.1, 0.05  # of all training images; a tenth would be all of one class of ten


@dataclass(frozen=True)
class BackdoorStudy:
    """What is studied.

    Attributes:
        data: name or path of the dataset.
        model: name of the network.
        trigger: one of `TRIGGERS`.
        target: class that the attacker wants, by name or number.
        poison_ratio: share of the training images that is poisoned; 0 for .1, of a trigger with clean labels .05.
        epochs: of the backbone; 0 for the preset's.
        ic_epochs: of the internal classifiers; 0 for the preset's.
        optimizer: of the backbone; "" for the preset's.
        learning_rate: of the backbone, its peak; 0 for the preset's.
        seed: of everything.
        samples: clean inputs that detectors are compared on, beside a fifth as many triggered ones.
    """

    data: str
    model: str
    trigger: str = "badnets"
    target: str = "5"
    poison_ratio: float = 0.0
    epochs: int = 0
    ic_epochs: int = 0
    optimizer: str = ""
    learning_rate: float = 0.0
    seed: int = 0
    samples: int = 1000


def study_backdoor(
    study: BackdoorStudy, out: Path, *, resume: bool, overwrite: bool, context: RunContext
) -> tuple[BackdoorAudit, list[Path]]:
    """What ``audit backdoor`` finds in a study, and the files written.

    Three runs are made in ``out``: the poisoned backbone, and its internal classifiers trained on clean and on poisoned
    data. The study goes to the one with clean ones, whose report then shows it.

    Args:
        study: what is studied.
        out: directory of the runs.
        resume: go on with the runs in it.
        overwrite: replace them.
        context: how it is run.

    Raises:
        ShallowDeepError: bad settings, data or models; nothing is trained before they are known to go together.
    """
    with exclusive(out):
        return _studied(study, out, resume=resume, overwrite=overwrite, context=context)


def _studied(
    study: BackdoorStudy, out: Path, *, resume: bool, overwrite: bool, context: RunContext
) -> tuple[BackdoorAudit, list[Path]]:
    """What `study_backdoor` returns, in a directory that no other process studies in."""
    plain = checked(
        TrainConfig(
            data=study.data, model=study.model, recipe="joint", epochs=study.epochs, seed=study.seed,
            optimizer=study.optimizer, learning_rate=study.learning_rate, device=context.device,
            skip_bad_images=context.skip_bad_images,
        )
    )  # fmt: skip
    class_number(study.target, dataset_classes(study.data))  # told before the images are read
    splits = prepare_data(plain, context.progress)
    poisoning = _poisoning(study, splits)
    attack = BackdoorAttack(study.trigger, poisoning.target, poisoning.ratio)
    poisoned = replace(plain, recipe="backbone", attack=attack)
    heads = replace(
        plain, recipe="ic-only", model="", epochs=study.ic_epochs, optimizer="", learning_rate=0.0,
        init=str(out / BACKBONE),
    )  # fmt: skip
    configs = {
        BACKBONE: poisoned,
        CLEAN: heads,
        POISONED: replace(heads, attack=attack),
    }
    for name, config in configs.items():
        claim(out / name, replace(config, model=study.model), resume=resume, overwrite=overwrite)
    prepare_network(plain, splits)  # can it be converted?
    for part in (splits.test, splits.tune):
        part.prepare()  # a bad image is told now
    write_json(out / STUDY, asdict(study))
    if overwrite:
        for name in (CLEAN, POISONED):
            with exclusive(out / name):
                discard(out / name)  # not one of them belongs to the backbone that is to come
    trust = False
    for name, config in configs.items():
        context.progress.say(f"{out / name}:")
        train_run(config, out / name, resume=resume, overwrite=overwrite, context=replace(context, trust=trust))
        trust = read_manifest(out / BACKBONE).model.name == study.model  # typed by the caller
    with reading(out / CLEAN), reading(out / POISONED):
        opened = (open_run(out / name, replace(context, trust=trust)) for name in (CLEAN, POISONED))
        clean, other = (BackdooredRun(run, poisoning) for run in opened)
        _check_same_backbone(clean.run, other.run, out, trust=trust)
        seed_everything(study.seed)
        found = clean.findings()
        audit = BackdoorAudit(
            weights=clean.run.network.weights, data=splits.name, model=study.model, trigger=study.trigger,
            target=splits.classes[poisoning.target], poison_ratio=poisoning.ratio, images=len(splits.train),
            epochs=study.epochs or PRESET, ic_epochs=study.ic_epochs or PRESET, optimizer=study.optimizer or PRESET,
            learning_rate=study.learning_rate or PRESET, seed=study.seed, command=context.command, notes=clean.notes(),
            exits=found.exits, trigger_depth=found.trigger_depth, confusion=found.confusion,
            mitigation=found.mitigation, detectors=clean.detectors(study.samples, study.seed),
            training_set=clean.training_set(prepare_data(poisoned, context.progress).train),
            poisoned_ics=other.findings(),
        )  # fmt: skip
        return audit, write_audit(out / CLEAN, BACKDOOR_AUDIT, audit, clean.pictures())


def read_study(out: Path) -> BackdoorStudy:
    """The study that was begun in a directory, to go on with.

    Raises:
        ConfigurationError: none was, or its record is damaged.
    """
    try:
        return BackdoorStudy(**json.loads((out / STUDY).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"Expected a study to resume in {out}, found no {STUDY}; give --data and --model to begin one"
        ) from error


def _poisoning(study: BackdoorStudy, splits: DataSplits) -> Poisoning:
    """What is done to the training images, once it is known to be possible."""
    trigger = make_trigger(study.trigger, square_of(images_alone(splits.preprocessing)))
    ratio = study.poison_ratio or (CLEAN_LABEL_RATIO if trigger.clean_label else RATIO)
    poisoning = Poisoning(trigger, class_number(study.target, splits.classes), ratio, study.seed)
    poisoning.victims(splits.train.labels.numpy(), splits.classes)
    return poisoning


def class_number(wanted: str, classes: tuple[str, ...]) -> int:
    """The class of a name or number.

    Raises:
        ConfigurationError: there is no such class.
    """
    if wanted in classes:
        return classes.index(wanted)
    if wanted.isdigit() and int(wanted) < len(classes):
        return int(wanted)
    if wanted.lstrip("-").isdigit():
        raise ConfigurationError(f"Expected a target class in [0, {len(classes) - 1}], got {wanted}")
    raise UnknownNameError("target class", wanted, classes)


def _check_same_backbone(clean: OpenedRun, other: OpenedRun, out: Path, *, trust: bool) -> None:
    """Refuse internal classifiers of an older backbone, which a study that was cut off may have left.

    Raises:
        ConfigurationError: naming the run.
    """
    backbone = load(out / BACKBONE, trust=trust).backbone.state_dict()
    for run in (clean, other):
        theirs = {name: value.cpu() for name, value in run.network.backbone.state_dict().items()}
        if not all(torch.equal(value, theirs[name]) for name, value in backbone.items()):
            raise ConfigurationError(
                f"Expected internal classifiers on the backbone of {out / BACKBONE}, {run.path} has another; "
                "--overwrite trains them anew"
            )
