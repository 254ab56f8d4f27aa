"""What ``calibrate`` finds: the policy, what it does on each split, and what is promised."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.calibration.calibrate import TemperatureFit
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.outcome import OutcomeSummary
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import Promise


@dataclass(frozen=True)
class SplitCurve:
    """Accuracy and cost of T thresholds on one split.

    Attributes:
        accuracy: (T,) fractions.
        relative_cost: (T,) mean costs, relative to the backbone.
    """

    accuracy: tuple[float, ...]
    relative_cost: tuple[float, ...]


@dataclass(frozen=True)
class SharedThresholdCurve:
    """What one threshold for all exits does, by the threshold.

    Attributes:
        chosen_on: the split that the thresholds cover evenly.
        thresholds: (T,) rising.
        tune: on that split.
        test: on that split.
    """

    chosen_on: str
    thresholds: tuple[float, ...]
    tune: SplitCurve
    test: SplitCurve


@dataclass(frozen=True)
class BackboneComparison:
    """The final exit of another run, on the same test split.

    Attributes:
        run: its directory.
        final_accuracy: of its final exit, a fraction.
        accuracy_lost: how far the policy's accuracy is below it.
    """

    run: str
    final_accuracy: float
    accuracy_lost: float


@dataclass(frozen=True)
class ExitTimes:
    """What reaching each exit takes, where heads of exits in use are run.

    Attributes:
        batch_size: images in a batch.
        static: milliseconds a batch of the static network.
        reached: (E,) milliseconds a batch; None for exits that are not in use.
    """

    batch_size: int
    static: float
    reached: tuple[float | None, ...]


@dataclass(frozen=True)
class CalibrationReport:
    """What ``calibrate`` finds for a run.

    Attributes:
        run: its directory.
        dataset: name of the data that ``test`` is of.
        calibrated_on: name of the data that ``tune`` and ``certify`` are of.
        exits: names, the final classifier last.
        policy: the policy found.
        tune: what it comes to on the split that everything was chosen on.
        certify: on the split that decides about promises.
        test: on the split that nothing was chosen on.
        promise: on the accuracy lost; None for nothing.
        abstention: which answers are withheld, and what that promises; None where all are given.
        curve: of one threshold for all exits; None for other objectives.
        milliseconds: a batch up to each exit in use, as the plan that was followed measured it; None without one.
        temperatures: what fitting them changed; None where the policy uses none.
        backbone: the comparison with another run; None where none was asked for.
        chance: that the network is no better than chance on ``test``, so that figures say nothing; None where it is.
        notes: what a reader should know besides.
        skipped_images: bad images left out.
        skipped_files: their names.
    """

    run: str
    dataset: str
    calibrated_on: str
    exits: tuple[str, ...]
    policy: Policy
    tune: OutcomeSummary
    certify: OutcomeSummary
    test: OutcomeSummary
    promise: Promise | None
    abstention: Abstention | None
    curve: SharedThresholdCurve | None
    milliseconds: ExitTimes | None
    temperatures: TemperatureFit | None
    backbone: BackboneComparison | None
    chance: str | None
    notes: tuple[str, ...]
    skipped_images: int
    skipped_files: tuple[str, ...] = ()
