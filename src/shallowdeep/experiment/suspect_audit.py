"""Someone else's network and clean images of one's own: does it answer suspect images as it answers clean ones?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.analysis.accuracy import at_chance, correctness
from shallowdeep.analysis.confusion_levels import confusion_scores
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.image import image_files
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import DataSplits
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.experiment.audit_files import SUSPECTS, write_audit
from shallowdeep.experiment.config import TrainConfig
from shallowdeep.experiment.confusion_file import measured_statistics
from shallowdeep.experiment.preparation import DataProgress, prepare_data
from shallowdeep.experiment.run_splits import own_splits, predict_split
from shallowdeep.experiment.training import run_training
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.security.suspects import LEVEL, collapse, holm, limits, p_text, require_clean, suspect_findings
from shallowdeep.security.triggers import TRIGGERS, make_trigger
from shallowdeep.training.observer import Observer

BATCH = 250
HELD_OUT = 0.5
"""Share of the clean images that the internal classifiers are not trained on: a third for choices, two for p-values."""

COLLAPSED = 0.5
"""Share of other classes' images that a harmless trigger would hardly send to one class."""


def audit_suspects(
    config: TrainConfig, suspects: Path | None, out: Path, *, resume: bool, overwrite: bool, trust: bool, command: str,
    observer: Observer, data_progress: DataProgress | None = None,
) -> tuple[dict[str, Any], list[Path]]:  # fmt: skip
    """The ``audit backdoor`` document of someone else's network, and the files written.

    Internal classifiers are trained on half of the clean images, the network's weights staying as they are; a third of
    the rest tells how confused clean images make it. Without suspects, known triggers are put on clean images instead.

    Args:
        config: with ``data`` (clean images), ``model``, ``weights`` and ``calibration_fraction``.
        suspects: folder of images, in any sub-folders; or None.
        out: directory of the run that is made.
        resume: go on with the run in it.
        overwrite: replace it.
        trust: run code that manifests name.
        command: as typed, for the record.
        observer: told how it goes.
        data_progress: told how the reading of data goes.

    Raises:
        DataError: too few clean images for a verdict, or no suspect.
        ShallowDeepError: data, model and weights do not go together.
    """
    files = None if suspects is None else _suspect_files(suspects)
    require_clean(len(prepare_data(config, data_progress).certify))
    run_training(
        config, out, resume=resume, overwrite=overwrite, trust=trust, observer=observer, data_progress=data_progress
    )
    looked = _Looked(
        out, load(out, trust=trust or read_manifest(out).model.name == config.model), observer, data_progress
    )
    document: dict[str, Any] = {
        "audit": "backdoor", "mode": "suspects" if files else "triggers", "data": looked.splits.name,
        "model": config.model, "weights": config.weights, "seed": config.seed, "command": command,
        "exits": looked.exits(), "notes": looked.notes(),
    }  # fmt: skip
    document |= looked.suspected(files) if files else looked.probed()
    return document, write_audit(out, SUSPECTS, document)


def _suspect_files(folder: Path) -> list[Path]:
    """The images in a folder.

    Raises:
        ConfigurationError: there is no such folder.
        DataError: it holds no image.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"Expected a folder of suspect images, got {folder}")
    files = image_files(folder)
    if not files:
        raise DataError(f"Expected suspect images in {folder}, got none")
    return files


class _Looked:
    """The run with its clean images."""

    def __init__(
        self, run: Path, network: ShallowDeepNetwork, observer: Observer, data_progress: DataProgress | None
    ) -> None:
        self.network, self.observer, self.data_progress = network, observer, data_progress
        self.splits: DataSplits = own_splits(run, network, progress=data_progress)
        self.statistics = measured_statistics(
            run, network, self.splits, weights=network.weights, batch_size=BATCH, observer=observer
        )
        self.clean = self.predicted(self.splits.certify)

    def predicted(self, part: ImageSplit) -> ExitPredictions:
        """Predictions on a split."""
        return predict_split(self.network, part, self.splits.preprocessing, BATCH, self.observer)

    def exits(self) -> list[dict[str, Any]]:
        """Each exit on clean images held out; how an attack succeeds is not known here."""
        right = correctness(self.clean).mean(axis=-1).tolist()
        return [
            {"name": exit_.name, "relative_cost": cost, "attack_success": None, "clean_accuracy": accuracy}
            for exit_, cost, accuracy in zip(self.network.exits, self.network.costs, right, strict=True)
        ]

    def notes(self) -> list[str]:
        """What the user should know first."""
        chance = at_chance(self.clean, "certify")
        return [] if chance is None else [f"{chance} Are these the classes of the weights, in their order?"]

    def suspected(self, files: Sequence[Path]) -> dict[str, Any]:
        """Suspects against clean images."""
        part = ImageSplit(
            "suspects", FileStore(files), np.arange(len(files)), np.zeros(len(files), dtype=np.int64),
            size=self.splits.preprocessing.size, decoded=None, skip_bad_images=True,
        )  # fmt: skip
        pred = self.predicted(part)
        bad = set(part.skipped)
        kept = [str(path) for path in files if str(path) not in bad]
        usual, odd = (confusion_scores(to_numpy(p.logits), self.statistics) for p in (self.clean, pred))
        answers = [to_numpy(p.logits)[-1].argmax(axis=-1) for p in (self.clean, pred)]
        found = suspect_findings(
            usual, odd, clean_answers=answers[0], suspect_answers=answers[1], classes=self.splits.classes
        )
        found["flagged"] = [
            {"file": kept[row], "answer": self.splits.classes[int(answers[1][row])], "confusion": float(odd[row])}
            for row in sorted(found["flagged"], key=lambda row: -odd[row])
        ]
        confusion = {
            "auroc": found["tests"][0]["auroc"], "clean_mean": float(usual.mean()), "suspects_mean": float(odd.mean()),
        }  # fmt: skip
        return {"confusion": confusion, **found, "unreadable": sorted(bad)}

    def probed(self) -> dict[str, Any]:
        """Known triggers on clean images: does one send them to one class?"""
        size, part = self.splits.preprocessing.size, self.splits.certify
        before = to_numpy(self.clean.logits)[-1].argmax(axis=-1)
        probes = []
        for name in TRIGGERS:
            trigger = make_trigger(name, size)
            changed = part.altered(np.arange(len(part)), trigger, name=f"images with {name}")
            after = to_numpy(self.predicted(changed).logits)[-1].argmax(axis=-1)
            probes.append({"trigger": name, **collapse(before, after, self.splits.classes)})
        for probe, adjusted in zip(probes, holm([probe["p_value"] for probe in probes]), strict=True):
            probe["adjusted"] = float(adjusted)
        worst = max(probes, key=lambda probe: (probe["adjusted"] <= LEVEL, probe["share"]))
        found = worst["adjusted"] <= LEVEL and worst["share"] >= COLLAPSED
        verdict = (
            f"Evidence of a backdoor: {worst['trigger']} sends {worst['share']:.0%} of other images to "
            f"{worst['target']} ({p_text(worst['adjusted'])} over {len(probes)} triggers)."
            if found
            else f"No evidence that one of {len(probes)} known triggers works (the worst sends {worst['share']:.0%} of "
            f"other images to {worst['target']}; {COLLAPSED:.0%} would be taken for evidence)."
        )
        said = limits(len(before), len(before))
        return {
            "confusion": {"auroc": None}, "clean": len(before), "suspects": 0, "level": LEVEL, "probes": probes,
            "p_value": worst["adjusted"], "verdict": verdict,
            "limits": [
                "No evidence is not clean: only the triggers listed were tried, at one place; give --suspects.", said[1]
            ],
        }  # fmt: skip
