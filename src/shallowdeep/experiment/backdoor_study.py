"""A backdoor under study: poison training data, train, convert with clean and with poisoned data, and look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shallowdeep.analysis.confusion_levels import confusion_scores
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import DataSplits
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.experiment.audit_files import BACKDOOR, Picture, evenly, write_audit
from shallowdeep.experiment.config import TrainConfig
from shallowdeep.experiment.confusion_file import measured_statistics
from shallowdeep.experiment.preparation import DataProgress, prepare_data
from shallowdeep.experiment.run_splits import own_splits, predict_split
from shallowdeep.experiment.training import run_training
from shallowdeep.runtime import evaluating, seed_everything
from shallowdeep.sdn.head_costs import head_costs
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.security.backdoor import backdoor_findings
from shallowdeep.security.detectors import (
    OVERLAYS,
    Scores,
    clustering_scores,
    detector_block,
    penultimate,
    spectral_scores,
    strip_scores,
)
from shallowdeep.security.poisoning import Poisoning, triggered
from shallowdeep.security.triggers import Trigger, make_trigger
from shallowdeep.training.observer import Observer

BATCH = 250
PICTURES = 6
TRIGGERED_SHARE = 0.2  # as many triggered inputs beside the clean ones that detectors are compared on
TRAINING_IMAGES = 10_000  # of those that clustering and spectra are shown, at most
BACKBONE, CLEAN, POISONED = "backbone", "clean-ics", "poisoned-ics"


@dataclass(frozen=True)
class BackdoorStudy:
    """What is studied.

    Attributes:
        data: name or path of the dataset.
        model: name of the network.
        trigger: one of `TRIGGERS`.
        target: class that the attacker wants, by name or number.
        ratio: share of the training images that is poisoned.
        epochs: of the backbone; 0 for the preset's.
        ic_epochs: of the internal classifiers; 0 for the preset's.
        seed: of everything.
        samples: clean inputs that detectors are compared on, beside a fifth as many triggered ones.
        device: ``auto``, ``cpu``, ``cuda`` ...
        skip_bad_images: leave out images that cannot be decoded.
    """

    data: str
    model: str
    trigger: str = "badnets"
    target: str = "5"
    ratio: float = 0.1
    epochs: int = 0
    ic_epochs: int = 0
    seed: int = 0
    samples: int = 1000
    device: str = "auto"
    skip_bad_images: bool = False


def study_backdoor(
    study: BackdoorStudy, out: Path, *, resume: bool, overwrite: bool, command: str, observer: Observer,
    data_progress: DataProgress | None = None,
) -> tuple[dict[str, Any], list[Path]]:  # fmt: skip
    """The ``audit backdoor`` document of a study, and the files written.

    Three runs are made in ``out``: the poisoned backbone, and its internal classifiers trained on clean and on poisoned
    data. The study goes to the one with clean ones, whose report then shows it.

    Args:
        study: what is studied.
        out: directory of the runs.
        resume: go on with the runs in it.
        overwrite: replace them.
        command: as typed, for the record.
        observer: told how it goes.
        data_progress: told how the reading of data goes.

    Raises:
        ShallowDeepError: bad settings, data or models; nothing is trained before they are known to go together.
    """
    backbone = TrainConfig(
        data=study.data, model=study.model, recipe="backbone", epochs=study.epochs, seed=study.seed,
        trigger=study.trigger, poison_ratio=study.ratio, device=study.device,
        skip_bad_images=study.skip_bad_images,
    )  # fmt: skip
    clean = replace(backbone, trigger="", poison_ratio=TrainConfig.poison_ratio)
    splits = prepare_data(replace(clean, recipe="joint"), data_progress)
    target = class_number(study.target, splits.classes)
    trigger = make_trigger(study.trigger, splits.preprocessing.size)
    backbone = replace(backbone, target=target)
    heads = replace(backbone, recipe="ic-only", model="", epochs=study.ic_epochs, init=str(out / BACKBONE))
    how: dict[str, Any] = {
        "resume": resume, "overwrite": overwrite, "observer": observer, "data_progress": data_progress,
    }  # fmt: skip
    run_training(backbone, out / BACKBONE, **how)
    how["trust"] = read_manifest(out / BACKBONE).model.name == study.model  # typed by the caller
    run_training(replace(heads, trigger="", target=0, poison_ratio=TrainConfig.poison_ratio), out / CLEAN, **how)
    run_training(heads, out / POISONED, **how)
    seed_everything(study.seed)
    looked, other = (_Looked(out / name, trigger, target, observer, trust=how["trust"]) for name in (CLEAN, POISONED))
    document: dict[str, Any] = {
        "audit": "backdoor", "mode": "study", "data": splits.name, "model": study.model, "trigger": study.trigger,
        "target": splits.classes[target], "poison_ratio": study.ratio, "images": len(splits.train),
        "epochs": study.epochs, "seed": study.seed, "command": command, **looked.findings(),
    }  # fmt: skip
    document["detectors"], auroc = looked.detectors(study.samples, study.seed)
    document["confusion"] = {"auroc": auroc, **document["confusion"]}
    document["training_set"] = looked.training_set(prepare_data(backbone, data_progress).train, backbone)
    document["poisoned_ics"] = other.findings()
    return document, write_audit(out / CLEAN, BACKDOOR, document, looked.pictures())


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


class _Looked:
    """A run with internal classifiers, looked at with clean and with triggered images."""

    def __init__(self, run: Path, trigger: Trigger, target: int, observer: Observer, *, trust: bool) -> None:
        self.network: ShallowDeepNetwork = load(run, trust=trust)
        splits = own_splits(run, self.network)
        self.splits: DataSplits = replace(splits, test=splits.test.readable(), tune=splits.tune.readable())
        self.target, self.observer, self.trigger = target, observer, trigger
        self.triggered = triggered(self.splits.test, trigger, target)
        self.tune, self.clean, self.odd = (
            predict_split(self.network, part, self.splits.preprocessing, BATCH, observer)
            for part in (self.splits.tune, self.splits.test, self.triggered)
        )
        self.statistics: ConfusionStatistics = measured_statistics(
            run, self.network, self.splits, weights=self.network.weights, batch_size=BATCH, observer=observer
        )

    def findings(self) -> dict[str, Any]:
        """What the trigger does at every exit, and what mends it."""
        return backdoor_findings(
            self.tune, self.clean, self.odd, self.target, names=[exit_.name for exit_ in self.network.exits],
            head_costs=head_costs(self.network.exits, self.network.backbone_macs), statistics=self.statistics,
        )  # fmt: skip

    def detectors(self, samples: int, seed: int) -> tuple[dict[str, Any], float]:
        """Every detector on the same inputs, by name, and confusion's AUROC on all of them."""
        counts = {self.splits.test: samples, self.triggered: max(1, round(TRIGGERED_SHARE * samples))}
        places = [np.sort(seeded_order(len(part), seed)[:count]) for part, count in counts.items()]
        is_triggered = np.repeat([False, True], [len(rows) for rows in places])
        pixels = torch.cat([part.fetch(rows)[0] for part, rows in zip(counts, places, strict=True)])
        crowd, _ = self.splits.test.fetch(np.setdiff1d(np.arange(len(self.splits.test)), places[0]))
        features, answers = self._features(torch.cat([pixels, crowd]))  # clean ones beside them, as in any stream
        first = slice(len(pixels))
        usual, odd = self._confusions()
        notes = "looks at many inputs at once, by their answers"
        blocks = {
            "confusion": detector_block(
                np.concatenate([usual[places[0]], odd[places[1]]]), is_triggered, passes=1, note="the pass that answers"
            ),
            "STRIP": detector_block(
                self._strip(pixels, seed), is_triggered, passes=OVERLAYS, note="superpositions with clean images"
            ),
            "activation clustering": detector_block(
                clustering_scores(features, answers)[first], is_triggered, passes=1, note=notes
            ),
            "spectral signatures": detector_block(
                spectral_scores(features, answers)[first], is_triggered, passes=1, note=notes
            ),
        }
        whole = detector_block(
            np.concatenate([usual, odd]), np.repeat([False, True], [len(usual), len(odd)]), passes=1, note="",
            resamples=0,
        )  # fmt: skip
        return {"inputs": len(pixels), "triggered": int(is_triggered.sum()), "by_name": blocks}, whole["auroc"]

    def training_set(self, train: ImageSplit, config: TrainConfig) -> dict[str, Any]:
        """The detectors on the poisoned training set, whose labels they group by: what they were made for."""
        true = self.splits.train.labels.numpy()
        victims = Poisoning(self.trigger, config.target, config.poison_ratio, config.seed).victims(
            true, self.splits.classes
        )
        rows = np.sort(seeded_order(len(train), 0)[:TRAINING_IMAGES])
        part = train.subset(rows).readable()
        rows = rows[np.isin(train.positions[rows], part.positions)]
        given, carry = part.labels.numpy(), np.isin(rows, victims)
        pred = predict_split(self.network, part, self.splits.preprocessing, BATCH, self.observer)
        features, _ = self._features(part.fetch(np.arange(len(part)))[0])
        scores = {
            "confusion": confusion_scores(to_numpy(pred.logits), self.statistics),
            "activation clustering": clustering_scores(features, given),
            "spectral signatures": spectral_scores(features, given),
        }
        return {
            "images": len(rows),
            "poisoned": int(carry.sum()),
            "relabelled": int((given != true[rows]).sum()),
            "by_name": {
                name: detector_block(values, carry, passes=1, note="grouped by label")
                for name, values in scores.items()
            },
        }

    def pictures(self) -> list[Picture]:
        """Triggered images beside the clean ones."""
        rows = np.asarray(evenly(len(self.triggered), PICTURES), dtype=np.int64)
        others = self.splits.test.subset(np.flatnonzero(self.splits.test.labels.numpy() != self.target))
        (before, labels), (after, _) = others.fetch(rows), self.triggered.fetch(rows)
        answers = to_numpy(self.odd.logits)[-1].argmax(axis=-1)
        classes = self.splits.classes
        return [
            Picture(
                before[place].permute(1, 2, 0).numpy(), after[place].permute(1, 2, 0).numpy(),
                f"{classes[int(labels[place])]}, with the trigger answered {classes[int(answers[row])]}",
            )
            for place, row in enumerate(rows)
        ]  # fmt: skip

    def _confusions(self) -> tuple[Scores, Scores]:
        usual, odd = (confusion_scores(to_numpy(pred.logits), self.statistics) for pred in (self.clean, self.odd))
        return usual, odd

    def _input(self, pixels: Tensor) -> Tensor:
        """Images (n, 3, S, S) uint8 as the network takes them."""
        return self.splits.preprocessing.normalize(pixels).contiguous(memory_format=torch.channels_last)

    def _features(self, pixels: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Penultimate features (N, F) and answers (N,)."""
        found = []
        with evaluating(self.network.backbone):
            for batch in torch.split(pixels, BATCH):
                features, logits = penultimate(self.network.backbone, self._input(batch))
                found.append((features.numpy(), logits.argmax(-1).numpy()))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def _strip(self, pixels: Tensor, seed: int) -> Scores:
        """STRIP's scores, with clean images of ``tune`` laid over the inputs."""
        overlays, _ = self.splits.tune.fetch(np.arange(len(self.splits.tune)))
        self.observer.started("STRIP", "images", len(pixels), 0)

        def predict(images: Tensor) -> Tensor:
            self.observer.advanced(1)
            with torch.no_grad():
                logits: Tensor = self.network.backbone(self._input(images))
            return logits

        with evaluating(self.network.backbone):
            return strip_scores(predict, pixels, overlays, seed=seed)
