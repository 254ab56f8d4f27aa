"""Someone else's network and clean images of one's own: does it answer suspect images as it answers clean ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.analysis.accuracy import at_chance, correctness
from shallowdeep.artifacts import SUSPECTS_AUDIT
from shallowdeep.audits.suspects_audit import (
    ALL,
    ExaminedExit,
    FlaggedSuspect,
    SuspectsAudit,
    SuspectsConfusion,
    TriggersAudit,
)
from shallowdeep.checkpoint import read_manifest
from shallowdeep.context import RunContext
from shallowdeep.data.image import image_files
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.splits import seeded_order
from shallowdeep.data.stores import FileStore
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.outcome import final_answers
from shallowdeep.files import reading
from shallowdeep.runs.audit_files import write_audit
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.opened_run import OpenedRun, open_run
from shallowdeep.runs.preparation import prepare_data
from shallowdeep.security.backdoor import two_histograms
from shallowdeep.security.suspects import (
    TriedTrigger,
    collapsed,
    placebos_needed,
    probe_findings,
    require_clean,
    strongest,
    suspect_findings,
)
from shallowdeep.security.triggers import TRIGGERS, Trigger, make_trigger, placebos, square_of
from shallowdeep.workflows.train import train_run

PROBED = 100  # clean images that triggers and placebos are put on
HELD_OUT = 0.5
"""Share of the clean images that internal classifiers are not trained on, where no other is asked for."""


def audit_suspects(
    config: TrainConfig, suspects: Path | None, out: Path, *, resume: bool, overwrite: bool, context: RunContext
) -> tuple[SuspectsAudit | TriggersAudit, list[Path]]:
    """What ``audit suspects`` finds about someone else's network, and the files written.

    Internal classifiers are trained on the clean images, the network's weights staying as they are; those images that
    are neither trained on nor chosen by (``certify`` and ``test``) tell how confused clean images make it. Without
    suspects, known triggers and placebos are put on clean images instead.

    Args:
        config: with ``data`` (clean images), ``model``, ``weights`` and ``calibration_fraction``.
        suspects: folder of images, in any sub-folders; or None.
        out: directory of the run that is made.
        resume: go on with the run in it.
        overwrite: replace it.
        context: how it is run.

    Raises:
        DataError: too few clean images for a verdict, or no suspect.
        ShallowDeepError: data, model and weights do not go together.
    """
    config = checked(config)
    files = None if suspects is None else _suspect_files(suspects)
    splits = prepare_data(config, context.progress)
    require_clean(len(splits.certify) + len(splits.test))
    train_run(config, out, resume=resume, overwrite=overwrite, context=context)
    trusted = context.trust or read_manifest(out).model.name == config.model  # typed by the caller
    with reading(out):
        run = open_run(out, replace(context, trust=trusted))
        examined = _Examined(run, config, context.command)
        audit = examined.probed() if files is None else examined.suspected(files)
        return audit, write_audit(out, SUSPECTS_AUDIT, audit)


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


class _Examined:
    """A run with the clean images that nothing was fitted to."""

    def __init__(self, run: OpenedRun, config: TrainConfig, command: str) -> None:
        self.run, self.config, self.command = run, config, command
        self.parts = [run.splits.certify, run.splits.test]
        self.clean = [run.predicted(part) for part in self.parts]
        self.confusion: NDArray[np.float64] = np.concatenate([run.confusion(pred) for pred in self.clean])
        require_clean(len(self.confusion))  # those that can be read

    @property
    def classes(self) -> tuple[str, ...]:
        """C names."""
        return self.run.splits.classes

    def exits(self) -> tuple[ExaminedExit, ...]:
        """Each exit on clean images held out; how an attack succeeds is not known here."""
        right = np.concatenate([correctness(pred) for pred in self.clean], axis=1).mean(axis=1).tolist()
        network = self.run.network
        return tuple(
            ExaminedExit(name=exit_.name, relative_cost=cost, clean_accuracy=accuracy)
            for exit_, cost, accuracy in zip(network.exits, network.costs, right, strict=True)
        )

    def notes(self) -> tuple[str, ...]:
        """What the user should know first."""
        chance = at_chance(self.clean[-1], "test")
        return () if chance is None else (f"{chance} Are these the classes of the weights, in their order?",)

    def suspected(self, files: Sequence[Path]) -> SuspectsAudit:
        """Suspects against clean images."""
        every = ImageSplit(
            "suspects", FileStore(files), np.arange(len(files)), np.zeros(len(files), dtype=np.int64),
            size=self.run.preprocessing.size, decoded=None, rules=self.run.preprocessing.rules, skip_bad_images=True,
        )  # fmt: skip
        part = every.readable()
        if not len(part):
            raise DataError(f"Expected suspect images that can be decoded, got none of {len(files)}")
        pred = self.run.predicted(part)
        of_suspects, answers = self.run.confusion(pred), final_answers(pred)
        clean_answers = np.concatenate([final_answers(one) for one in self.clean])
        found = suspect_findings(
            self.confusion, of_suspects, clean_answers=clean_answers, suspect_answers=answers, classes=self.classes
        )
        named = [str(files[place]) for place in part.positions]
        best = strongest(found.tests)
        alike = np.asarray([best.name in (ALL, f"answered {name}") for name in self.classes])
        of_clean, shown = self.confusion[alike[clean_answers]], of_suspects[alike[answers]]
        confusion = SuspectsConfusion(
            of=best.name, auroc=best.auroc, clean_mean=float(of_clean.mean()), triggered_mean=float(shown.mean()),
            normalised=True, histogram=two_histograms(of_clean, shown),
        )  # fmt: skip
        flagged = tuple(
            FlaggedSuspect(named[row], self.classes[int(answers[row])], float(of_suspects[row]))
            for row in sorted(found.flagged, key=lambda row: -of_suspects[row])
        )
        return SuspectsAudit(
            weights=self.run.network.weights, weights_file=self.config.weights, data=self.run.splits.name,
            model=self.config.model, seed=self.config.seed, command=self.command, exits=self.exits(),
            clean=found.clean, notes=self.notes(), confusion=confusion, suspects=found.suspects, level=found.level,
            p_value=found.p_value, tests=found.tests, flagged=flagged, verdict=found.verdict, limits=found.limits,
            unreadable=tuple(sorted({str(path) for path in files} - set(named))),
        )  # fmt: skip

    def probed(self) -> TriggersAudit:
        """Known triggers on clean images: does one send them to one class, as placebos do not?"""
        lengths = [len(part) for part in self.parts]
        drawn = np.sort(seeded_order(sum(lengths), self.config.seed)[:PROBED])
        rows = np.split(drawn, np.searchsorted(drawn, np.cumsum(lengths)[:-1]))
        starts = np.cumsum([0, *lengths[:-1]])
        chosen = [
            part.subset(mine - start) for part, mine, start in zip(self.parts, rows, starts, strict=True) if len(mine)
        ]

        def answers(parts: Sequence[ImageSplit]) -> NDArray[np.int64]:
            return np.concatenate([final_answers(self.run.predicted(part)) for part in parts])

        before = answers(chosen)

        def moved(change: Trigger, name: str) -> tuple[int, float]:
            changed = [part.altered(np.arange(len(part)), change, name=name) for part in chosen]
            return collapsed(before, answers(changed), len(self.classes))

        tried = []
        size, count = square_of(self.run.preprocessing), placebos_needed(len(TRIGGERS))
        for name in TRIGGERS:
            trigger = make_trigger(name, size)
            target, share = moved(trigger, f"images with {name}")
            others = placebos(trigger, size, count, self.config.seed)
            shares = tuple(moved(one, f"placebos of {name}")[1] for one in others)
            tried.append(TriedTrigger(name, self.classes[target], share, shares))
        found = probe_findings(tried)
        return TriggersAudit(
            weights=self.run.network.weights, weights_file=self.config.weights, data=self.run.splits.name,
            model=self.config.model, seed=self.config.seed, command=self.command, exits=self.exits(),
            clean=len(self.confusion), notes=self.notes(), probed=len(before), probes=found.probes,
            p_value=found.p_value, verdict=found.verdict, limits=found.limits,
        )  # fmt: skip
