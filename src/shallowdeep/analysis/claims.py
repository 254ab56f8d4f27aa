"""The paper's claims beside what was measured.

Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019; its figures are for VGG-16, ResNet-56, WideResNet-32-4
and MobileNet on CIFAR-10, CIFAR-100 and Tiny ImageNet after 100 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST, HALF = 0.5, (0.4, 0.6)
RELIABLE = 0.8  # AUROC


def claims(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the claims that these findings can speak to.

    Args:
        document: findings with ``wasteful``, ``destructive``, ``confusion`` and ``error_indicators``.

    Returns:
        ``claim``, ``paper``, ``measured`` (texts) and ``agrees``: by the rule that stands in the claim; None where that
        cannot be said.
    """
    found = []
    waste, lost = document["wasteful"], document["destructive"]
    if waste is not None:
        found += [
            _claim(
                "Most samples (over half) are right before the last exit",
                "up to 95 % of samples",
                f"{percent(waste['share'])} of samples{_between(waste, 'share')}",
                agrees=waste["share"] > MOST,
            ),
            _claim(
                "Stopping at the first right exit would save over half of the cost",
                "over 50 % saved on CIFAR, 25 % on Tiny ImageNet, up to 75 %",
                f"{percent(1 - waste['oracle_cost'])} saved by the oracle",
                agrees=waste["oracle_cost"] < MOST,
            ),
        ]
    if lost is not None and lost["share_of_errors"] is not None:
        share = lost["share_of_errors"]
        found += [
            _claim(
                "About half (40 to 60 %) of the final exit's errors were right at an earlier exit",
                "about 50 % of misclassifications, at most",
                f"{percent(share)} of {lost['errors']:,} errors{_between(lost, 'share_of_errors')}",
                agrees=HALF[0] <= share <= HALF[1],
            ),
            _claim(
                "They are more than chance gives, were each exit's answers shuffled among the errors",
                "not reported",
                f"{percent(share)} against {percent(lost['chance'])} (and {percent(lost['chance_together'])} with "
                "whole trajectories shuffled, which keeps how exits agree)",
                agrees=_beyond_chance(lost),
            ),
        ]
    indicators = document["error_indicators"]
    if indicators is not None and "confusion" in indicators:
        level, softmax = (indicators[name]["auroc"] for name in ("confusion", "max-softmax"))
        found.append(
            _claim(
                f"Confusion indicates errors reliably (AUROC of {RELIABLE} and more)",
                "histograms of right and wrong lie apart; fewer outliers than by softmax confidence",
                f"AUROC {level:.3f}{_plain_between(indicators['confusion'], 'auroc')}; max softmax {softmax:.3f}",
                agrees=level >= RELIABLE,
            )
        )
        found.append(_better_than_softmax(document["confusion"]))
    return found


def _beyond_chance(lost: Mapping[str, Any]) -> bool | None:
    """Return whether the share's interval lies above the chance level; False below it, None across or without one."""
    bounds, chance = lost["intervals"].get("share_of_errors"), lost["chance"]
    if bounds is None or bounds[0] <= chance <= bounds[1]:
        return None
    return bool(bounds[0] > chance)


def percent(fraction: float) -> str:
    """Return a fraction in per cent with one digit and its sign."""
    return f"{100 * fraction:.1f} %"


def _better_than_softmax(confusion: Mapping[str, Any]) -> dict[str, Any]:
    ours = confusion["right_above_wrong_mean"], confusion["wrong_below_right_mean"]
    theirs = confusion["softmax_right_below_wrong_mean"], confusion["softmax_wrong_above_right_mean"]
    return _claim(
        "It leaves fewer outliers than softmax confidence: right answers beyond the wrong ones' mean, and the reverse",
        "fewer of both",
        f"{ours[0]:,} and {ours[1]:,} by confusion, {theirs[0]:,} and {theirs[1]:,} by softmax confidence",
        agrees=ours[0] < theirs[0] and ours[1] < theirs[1],
    )


def _claim(claim: str, paper: str, measured: str, *, agrees: bool | None) -> dict[str, Any]:
    return {"claim": claim, "paper": paper, "measured": measured, "agrees": agrees}


def _between(block: Mapping[str, Any], name: str) -> str:
    bounds = block["intervals"].get(name)
    return "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def _plain_between(block: Mapping[str, Any], name: str) -> str:
    bounds = block["intervals"].get(name)
    return "" if bounds is None else f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
