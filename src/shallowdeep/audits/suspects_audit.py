"""What ``audit suspects`` finds about someone else's network, with suspect images or with known triggers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shallowdeep.audits.backdoor_audit import TriggerHistogram

ALL = "all"
"""Name of the test that compares all suspects."""


@dataclass(frozen=True, kw_only=True)
class ExaminedExit:
    """One exit on clean images held out.

    Attributes:
        name: of the exit.
        relative_cost: multiply-adds to reach it, divided by the backbone's.
        attack_success: None; how an attack succeeds is not known here.
        clean_accuracy: share of the clean images answered rightly.
    """

    name: str
    relative_cost: float
    attack_success: float | None = None
    clean_accuracy: float


@dataclass(frozen=True)
class SuspectsTest:
    """Are suspects more confused than clean images, or less?

    Attributes:
        name: `ALL`, or ``answered CLASS`` for those answered so.
        suspects: number of suspects compared.
        auroc: how often a suspect is more confused than a clean image, in [0, 1].
        p_value: of this test alone.
        adjusted: p-value adjusted for all tests.
    """

    name: str
    suspects: int
    auroc: float
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class FlaggedSuspect:
    """A suspect that stands out.

    Attributes:
        file: its path.
        answer: name of the class that the network answers.
        confusion: in standard deviations of training data.
    """

    file: str
    answer: str
    confusion: float


@dataclass(frozen=True, kw_only=True)
class SuspectsConfusion:
    """Confusion of clean images and of suspects.

    Attributes:
        of: name of the test whose images are meant.
        auroc: of that test.
        clean_mean: mean confusion of clean images.
        triggered_mean: mean confusion of suspects.
        normalised: whether confusion is given in standard deviations of training data.
        histogram: of both.
    """

    of: str = ALL
    auroc: float
    clean_mean: float
    triggered_mean: float
    normalised: bool
    histogram: TriggerHistogram


@dataclass(frozen=True)
class NoConfusion:
    """Stands where confusion was not compared.

    Attributes:
        auroc: None.
    """

    auroc: float | None = None


@dataclass(frozen=True)
class TriggerProbe:
    """A known trigger put on clean images.

    Attributes:
        trigger: its name.
        target: name of the class that most images are sent to.
        share: of the images of other classes sent there.
        placebo_share: largest share that a placebo sends to one class.
        p_value: of the trigger among its placebos.
        adjusted: p-value adjusted for all triggers.
    """

    trigger: str
    target: str
    share: float
    placebo_share: float
    p_value: float
    adjusted: float


@dataclass(frozen=True, kw_only=True)
class SuspectsAudit:
    """What ``audit suspects`` found with suspect images.

    Attributes:
        audit: ``suspects``.
        mode: ``suspects``.
        weights: SHA-256 of the network's, internal classifiers included.
        weights_file: that was examined.
        data: name of the clean images' dataset.
        model: name of the network.
        seed: of everything.
        command: that was typed.
        exits: E of them, the final one last.
        clean: number of clean images held out.
        notes: what the reader should know first.
        confusion: of the images that the verdict speaks of.
        suspects: number of suspects.
        level: chance of a false alarm over all tests, and share of false discoveries among the flagged.
        p_value: the smallest adjusted one.
        tests: of all suspects, and of those answered alike.
        flagged: suspects that stand out, the most confused first.
        verdict: one sentence.
        limits: what the verdict does not say, in sentences.
        unreadable: paths of the suspects that cannot be decoded.
    """

    audit: str = "suspects"
    mode: Literal["suspects"] = "suspects"
    weights: str
    weights_file: str
    data: str
    model: str
    seed: int
    command: str
    exits: tuple[ExaminedExit, ...]
    clean: int
    notes: tuple[str, ...] = ()
    confusion: SuspectsConfusion
    suspects: int
    level: float
    p_value: float
    tests: tuple[SuspectsTest, ...]
    flagged: tuple[FlaggedSuspect, ...]
    verdict: str
    limits: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TriggersAudit:
    """What ``audit suspects`` found with known triggers, where there were no suspects.

    Attributes:
        audit: ``suspects``.
        mode: ``triggers``.
        weights: SHA-256 of the network's, internal classifiers included.
        weights_file: that was examined.
        data: name of the clean images' dataset.
        model: name of the network.
        seed: of everything.
        command: that was typed.
        exits: E of them, the final one last.
        clean: number of clean images held out.
        notes: what the reader should know first.
        confusion: not compared.
        suspects: 0.
        probed: number of clean images that triggers were put on.
        probes: one for each trigger.
        p_value: adjusted one of the trigger in the verdict.
        verdict: one sentence.
        limits: what the verdict does not say, in sentences.
    """

    audit: str = "suspects"
    mode: Literal["triggers"] = "triggers"
    weights: str
    weights_file: str
    data: str
    model: str
    seed: int
    command: str
    exits: tuple[ExaminedExit, ...]
    clean: int
    notes: tuple[str, ...] = ()
    confusion: NoConfusion = field(default_factory=NoConfusion)
    suspects: int = 0
    probed: int
    probes: tuple[TriggerProbe, ...]
    p_value: float
    verdict: str
    limits: tuple[str, ...]
