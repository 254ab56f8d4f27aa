"""The paper's claims beside what was measured.

Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019; its figures are for VGG-16, ResNet-56, WideResNet-32-4
and MobileNet on CIFAR-10, CIFAR-100 and Tiny ImageNet after 100 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shallowdeep.analysis.bootstrap import Intervals
from shallowdeep.analysis.confusion_levels import ConfusionLevels
from shallowdeep.analysis.error_detection import Detection
from shallowdeep.analysis.overthinking import Destructive, Wasteful

MOST, HALF = 0.5, (0.4, 0.6)
RELIABLE = 0.8  # AUROC


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was measured.

    Attributes:
        claim: a sentence, with the rule by which it is said to agree.
        paper: what is reported there, in words.
        measured: what was found here, in words.
        agrees: whether it does by that rule; None where that cannot be said.
    """

    claim: str
    paper: str
    measured: str
    agrees: bool | None


def claims(
    waste: Wasteful | None,
    lost: Destructive | None,
    indicators: Mapping[str, Detection] | None,
    confusion: ConfusionLevels | None,
) -> tuple[Claim, ...]:
    """Return the claims that findings can speak to; each of them may be missing."""
    made = []
    if waste is not None:
        made += [
            Claim(
                "Most samples (over half) are right before the last exit",
                "up to 95 % of samples",
                f"{percent(waste.share)} of samples{_between(waste.intervals, 'share')}",
                agrees=waste.share > MOST,
            ),
            Claim(
                "Stopping at the first right exit would save over half of the cost",
                "over 50 % saved on CIFAR, 25 % on Tiny ImageNet, up to 75 %",
                f"{percent(1 - waste.oracle_cost)} saved by the oracle",
                agrees=waste.oracle_cost < MOST,
            ),
        ]
    if lost is not None:
        made += _destructive(lost)
    if indicators is not None and confusion is not None:
        level, softmax = indicators["confusion"], indicators["max-softmax"]
        made += [
            Claim(
                f"Confusion indicates errors reliably (AUROC of {RELIABLE} and more)",
                "histograms of right and wrong lie apart; fewer outliers than by softmax confidence",
                f"AUROC {level.auroc:.3f}{_plain_between(level.intervals, 'auroc')}; max softmax {softmax.auroc:.3f}",
                agrees=level.auroc >= RELIABLE,
            ),
            *_better_than_softmax(confusion),
        ]
    return tuple(made)


def _destructive(lost: Destructive) -> list[Claim]:
    """Return the claims on destructive overthinking; none without errors."""
    share, chance, together = lost.share_of_errors, lost.chance, lost.chance_together
    if share is None or chance is None or together is None:
        return []
    return [
        Claim(
            "About half (40 to 60 %) of the final exit's errors were right at an earlier exit",
            "about 50 % of misclassifications, at most",
            f"{percent(share)} of {lost.errors:,} errors{_between(lost.intervals, 'share_of_errors')}",
            agrees=HALF[0] <= share <= HALF[1],
        ),
        Claim(
            "They are more than chance gives, were each exit's answers shuffled among the errors",
            "not reported",
            f"{percent(share)} against {percent(chance)} (and {percent(together)} with "
            "whole trajectories shuffled, which keeps how exits agree)",
            agrees=_beyond_chance(lost.intervals, chance),
        ),
    ]


def _beyond_chance(intervals: Intervals, chance: float) -> bool | None:
    """Return whether the share's interval lies above the chance level; False below it, None across or without one."""
    bounds = intervals.get("share_of_errors")
    if bounds is None or bounds[0] <= chance <= bounds[1]:
        return None
    return bounds[0] > chance


def percent(fraction: float) -> str:
    """Return a fraction in per cent with one digit and its sign."""
    return f"{100 * fraction:.1f} %"


def _better_than_softmax(confusion: ConfusionLevels) -> list[Claim]:
    """Return the claim on outliers; none where right or wrong answers are missing."""
    right, wrong = confusion.right_above_wrong_mean, confusion.wrong_below_right_mean
    softmax_right, softmax_wrong = (
        confusion.softmax_right_below_wrong_mean,
        confusion.softmax_wrong_above_right_mean,
    )
    if right is None or wrong is None or softmax_right is None or softmax_wrong is None:
        return []
    return [
        Claim(
            "It leaves fewer outliers than softmax confidence: right answers beyond the wrong ones' mean, and the "
            "reverse",
            "fewer of both",
            f"{right:,} and {wrong:,} by confusion, {softmax_right:,} and {softmax_wrong:,} by softmax confidence",
            agrees=right < softmax_right and wrong < softmax_wrong,
        )
    ]


def _between(intervals: Intervals, name: str) -> str:
    bounds = intervals.get(name)
    return "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def _plain_between(intervals: Intervals, name: str) -> str:
    bounds = intervals.get(name)
    return "" if bounds is None else f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
