"""A run on images with a trigger: what it does at every exit, and who tells them from clean ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shallowdeep.analysis.accuracy import at_chance
from shallowdeep.audits.backdoor_audit import BackdoorFindings, InputDetection, TrainingSetDetection
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.runs.audit_files import Picture, evenly
from shallowdeep.runs.opened_run import BATCH, OpenedRun
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.logits import logits_of
from shallowdeep.security.backdoor import Looks, backdoor_findings
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

PICTURES = 6
TRIGGERED_SHARE = 0.2  # as many triggered inputs beside the clean ones that detectors are compared on
TRAINING_IMAGES = 10_000  # of those that clustering and spectra are shown, at most
SURE_OF = 50  # poisoned images among them, where there are so many

_NO_FEATURES = "left out: no linear layer to read features from"


class BackdooredRun:
    """A run looked at with clean and with triggered images.

    Args:
        run: with internal classifiers.
        poisoning: what was done to its backbone's training images.
    """

    def __init__(self, run: OpenedRun, poisoning: Poisoning) -> None:
        self.run, self.poisoning = run, poisoning
        trigger, target = poisoning.trigger, poisoning.target
        self.triggered = triggered(run.splits.test, trigger, target)
        self.looks = Looks(
            tune=run.predicted(run.splits.tune),
            tune_triggered=run.predicted(triggered(run.splits.tune, trigger, target)),
            clean=run.predicted(run.splits.test),
            triggered=run.predicted(self.triggered),
        )

    def notes(self) -> tuple[str, ...]:
        """What the user should know first."""
        chance = at_chance(self.looks.clean, "test")
        return () if chance is None else (chance,)

    def findings(self) -> BackdoorFindings:
        """What the trigger does at every exit, and what mends it."""
        return backdoor_findings(
            self.looks, self.poisoning.target, names=[exit_.name for exit_ in self.run.network.exits],
            statistics=self.run.statistics,
        )  # fmt: skip

    def detectors(self, samples: int, seed: int) -> InputDetection:
        """Every detector on the same inputs, by name."""
        test = self.run.splits.test
        clean_rows = np.sort(seeded_order(len(test), seed)[:samples])
        count = max(1, round(TRIGGERED_SHARE * len(clean_rows)))
        triggered_rows = np.sort(seeded_order(len(self.triggered), seed)[:count])
        is_triggered = np.repeat([False, True], [len(clean_rows), len(triggered_rows)])
        pixels = torch.cat([test.fetch(clean_rows)[0], self.triggered.fetch(triggered_rows)[0]])
        of_clean, of_triggered = (self.run.confusion(pred) for pred in (self.looks.clean, self.looks.triggered))
        confused = np.concatenate([of_clean[clean_rows], of_triggered[triggered_rows]])
        scores: dict[str, tuple[Scores, int, str]] = {
            "confusion": (confused, 1, "the pass that answers"),
            "STRIP": (self._strip(pixels, seed), OVERLAYS, "superpositions with clean images"),
        }  # fmt: skip
        crowd, _ = test.fetch(np.setdiff1d(np.arange(len(test)), clean_rows))  # clean ones beside them, as in a stream
        found = self._features(torch.cat([pixels, crowd]))
        if found is not None:
            first, note = slice(len(pixels)), "looks at many inputs at once, by their answers"
            scores["activation clustering"] = clustering_scores(*found)[first], 1, note
            scores["spectral signatures"] = spectral_scores(*found)[first], 1, note
        return InputDetection(
            inputs=len(pixels),
            triggered=len(triggered_rows),
            by_name={
                name: detector_block(values, is_triggered, passes=passes, note=note)
                for name, (values, passes, note) in scores.items()
            },
            note=None if found is not None else f"activation clustering and spectral signatures {_NO_FEATURES}",
        )

    def training_set(self, train: ImageSplit) -> TrainingSetDetection:
        """The detectors on poisoned training images, whose labels they group by: what they were made for."""
        true = self.run.splits.train.labels.numpy()
        victims = self.poisoning.victims(true, self.run.splits.classes)
        rows = np.union1d(seeded_order(len(train), 0)[:TRAINING_IMAGES], victims[:SURE_OF])
        part = train.subset(rows).readable()
        rows = rows[np.isin(train.positions[rows], part.positions)]
        given, carry = part.labels.numpy(), np.isin(rows, victims)
        scores = {"confusion": self.run.confusion(self.run.predicted(part))}
        found = self._features(part.fetch(np.arange(len(part)))[0])
        if found is not None:
            scores["activation clustering"] = clustering_scores(found[0], given)
            scores["spectral signatures"] = spectral_scores(found[0], given)
        return TrainingSetDetection(
            images=len(rows),
            poisoned=int(carry.sum()),
            relabelled=int((given != true[rows]).sum()),
            by_name={
                name: detector_block(values, carry, passes=1, note="grouped by label")
                for name, values in scores.items()
            },
        )

    def pictures(self) -> list[Picture]:
        """Triggered images beside the clean ones."""
        rows = np.asarray(evenly(len(self.triggered), PICTURES), dtype=np.int64)
        test = self.run.splits.test
        others = test.subset(np.flatnonzero(test.labels.numpy() != self.poisoning.target))
        (before, labels), (after, _) = others.fetch(rows), self.triggered.fetch(rows)
        answers = to_numpy(self.looks.triggered.logits)[-1].argmax(axis=-1)
        classes = self.run.splits.classes
        return [
            Picture(
                before[place].permute(1, 2, 0).numpy(), after[place].permute(1, 2, 0).numpy(),
                f"{classes[int(labels[place])]}, with the trigger answered {classes[int(answers[row])]}",
            )
            for place, row in enumerate(rows)
        ]  # fmt: skip

    def _features(self, pixels: Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Penultimate features (N, F) and answers (N,); None where the network has no linear layer."""
        backbone, found = self.run.network.backbone, []
        try:
            with evaluating(backbone):
                for batch in torch.split(pixels, BATCH):
                    features, logits = penultimate(backbone, self.run.input(batch))
                    found.append((features.float().cpu().numpy(), logits.argmax(-1).cpu().numpy()))
        except ConfigurationError:
            return None
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def _strip(self, pixels: Tensor, seed: int) -> Scores:
        """STRIP's scores, with clean images of ``tune`` laid over the inputs."""
        run = self.run
        overlays, _ = run.splits.tune.fetch(np.arange(len(run.splits.tune)))
        with run.context.progress.start("STRIP", "images", len(pixels)) as bar, evaluating(run.network.backbone):

            def predict(images: Tensor) -> Tensor:
                bar.advance()
                with torch.no_grad():
                    logits: Tensor = logits_of(run.network.backbone(run.input(images)))
                return logits.float().cpu()

            return strip_scores(predict, pixels, overlays, seed=seed)
