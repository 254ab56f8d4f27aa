"""What ``audit backdoor`` finds: what a trigger does at every exit, who detects it, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shallowdeep.analysis.bootstrap import Intervals

PRESET = "the preset's"  # stands for a setting that was not given


@dataclass(frozen=True)
class TriggeredExit:
    """One exit on clean and on triggered images.

    Attributes:
        name: of the exit.
        relative_cost: multiply-adds to reach it, divided by the backbone's.
        attack_success: share of the triggered images answered as the attacker wants.
        clean_accuracy: share of the clean images answered rightly.
        triggered_accuracy: share of the triggered images answered rightly.
    """

    name: str
    relative_cost: float
    attack_success: float
    clean_accuracy: float
    triggered_accuracy: float


@dataclass(frozen=True)
class TriggerHistogram:
    """Confusion of two groups of images, counted in the same bins.

    Attributes:
        edges: of the B bins, B + 1 rising numbers.
        clean: number of clean images in each bin.
        triggered: number of triggered images, or of suspects, in each bin.
    """

    edges: tuple[float, ...]
    clean: tuple[int, ...]
    triggered: tuple[int, ...]


@dataclass(frozen=True)
class TriggerConfusion:
    """Confusion of clean and of triggered images.

    Attributes:
        auroc: how well confusion tells triggered images from clean ones, in [0, 1].
        clean_mean: mean confusion of clean images.
        triggered_mean: mean confusion of triggered images.
        normalised: whether confusion is given in standard deviations of training data.
        histogram: of both.
    """

    auroc: float
    clean_mean: float
    triggered_mean: float
    normalised: bool
    histogram: TriggerHistogram


@dataclass(frozen=True)
class Answering:
    """One way of answering, on clean and on triggered images; figures are None where there is no such way.

    Attributes:
        name: short.
        rule: how it answers, in words.
        clean_accuracy: share of the clean images answered rightly.
        triggered_accuracy: share of the triggered images answered rightly.
        attack_success: share of the triggered images answered as the attacker wants.
        relative_cost: mean cost of clean images, divided by the backbone's.
        withheld: shares of the clean and of the triggered images that get no answer; None where all get one.
        triggered_relative_cost: mean cost of triggered images, where it differs from that of clean ones.
    """

    name: str
    rule: str
    clean_accuracy: float | None
    triggered_accuracy: float | None
    attack_success: float | None
    relative_cost: float | None
    withheld: tuple[float, float] | None = None
    triggered_relative_cost: float | None = None


@dataclass(frozen=True)
class DetectorFigures:
    """What one detector is worth.

    Attributes:
        auroc: in [0, 1]; guessing reaches .5.
        fpr95: share of the clean inputs that are flagged where 95 % of the triggered ones are.
        intervals: 95 % bootstrap intervals of both.
        forward_passes: of the network for each input.
        note: what the detector looks at.
    """

    auroc: float
    fpr95: float
    intervals: Intervals
    forward_passes: int
    note: str


@dataclass(frozen=True)
class InputDetection:
    """Detectors of triggered inputs, all on the same inputs.

    Attributes:
        inputs: number of inputs.
        triggered: number of triggered ones among them.
        by_name: figures of each detector.
        note: which detectors were left out, and why; None for none.
    """

    inputs: int
    triggered: int
    by_name: Mapping[str, DetectorFigures]
    note: str | None = None


@dataclass(frozen=True)
class TrainingSetDetection:
    """Detectors of poisoned training images, all on the same images.

    Attributes:
        images: number of images.
        poisoned: number of poisoned ones among them.
        relabelled: number whose label was changed.
        by_name: figures of each detector.
    """

    images: int
    poisoned: int
    relabelled: int
    by_name: Mapping[str, DetectorFigures]


@dataclass(frozen=True)
class BackdoorFindings:
    """What a trigger does to one network.

    Attributes:
        exits: E of them, the final one last.
        trigger_depth: number of the first exit where the trigger wins over half of the images; None for no exit.
        confusion: on clean and on triggered images.
        mitigation: ways of answering.
    """

    exits: tuple[TriggeredExit, ...]
    trigger_depth: int | None
    confusion: TriggerConfusion
    mitigation: tuple[Answering, ...]


@dataclass(frozen=True, kw_only=True)
class BackdoorAudit:
    """What ``audit backdoor`` found. Internal classifiers were trained on clean data unless said otherwise.

    Attributes:
        audit: ``backdoor``.
        mode: ``study``.
        weights: SHA-256 of the network's.
        data: name of the dataset.
        model: name of the network.
        trigger: its name.
        target: name of the class that the attacker wants.
        poison_ratio: share of the training images that carry the trigger.
        images: number of training images.
        epochs: of the backbone, or `PRESET`.
        ic_epochs: of the internal classifiers, or `PRESET`.
        optimizer: of the backbone, or `PRESET`.
        learning_rate: of the backbone, its peak, or `PRESET`.
        seed: of everything.
        command: that was typed.
        notes: what the reader should know first.
        exits: E of them, the final one last.
        trigger_depth: number of the first exit where the trigger wins over half of the images; None for no exit.
        confusion: on clean and on triggered images.
        mitigation: ways of answering.
        detectors: of triggered inputs.
        training_set: detectors of poisoned training images.
        poisoned_ics: the same network with internal classifiers trained on poisoned data.
    """

    audit: str = "backdoor"
    mode: Literal["study"] = "study"
    weights: str
    data: str
    model: str
    trigger: str
    target: str
    poison_ratio: float
    images: int
    epochs: int | str = PRESET
    ic_epochs: int | str = PRESET
    optimizer: str = PRESET
    learning_rate: float | str = PRESET
    seed: int
    command: str
    notes: tuple[str, ...] = ()
    exits: tuple[TriggeredExit, ...]
    trigger_depth: int | None
    confusion: TriggerConfusion
    mitigation: tuple[Answering, ...]
    detectors: InputDetection
    training_set: TrainingSetDetection
    poisoned_ics: BackdoorFindings
