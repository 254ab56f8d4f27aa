"""The report's headline figures as plain sentences."""

from __future__ import annotations

from typing import NamedTuple

from shallowdeep.analysis.error_detection import Detection
from shallowdeep.analysis.findings import Findings
from shallowdeep.analysis.overthinking import Destructive
from shallowdeep.report.page_wording import count, decimal, interval, percent, points


class Headline(NamedTuple):
    """One finding.

    Args:
        figure: its number, short.
        sentence: the finding in full, the number in it.
        section: which section of the page says more.
    """

    figure: str
    sentence: str
    section: str


def headlines(found: Findings) -> list[Headline]:
    """Return the findings that can be said, most important first."""
    makers = (_final, _wasteful, _destructive, _changing, _indicator, _rule)
    said = (maker(found) for maker in makers)
    return [headline for headline in said if headline is not None]


def _final(found: Findings) -> Headline | None:
    final = found.exits[-1]
    if final.accuracy is None:
        return None
    sentence = f"The final classifier is right for {percent(final.accuracy)} of {count(found.samples)} samples"
    if len(found.exits) > 1 and found.cumulative_accuracy is not None:
        sentence += f"; one exit or another is right for {percent(found.cumulative_accuracy)}"
    return Headline(percent(final.accuracy), f"{sentence}.", "exits")


def _wasteful(found: Findings) -> Headline | None:
    waste = found.wasteful
    if waste is None:
        return None
    share = percent(waste.share)
    sentence = (
        f"Some exit before the last is right for {share} of the samples{interval(waste.intervals, 'share')}; stopping "
        f"each at its first right exit would cost {percent(waste.oracle_cost)} of the backbone"
        f"{interval(waste.intervals, 'oracle_cost')}."
    )
    return Headline(share, sentence, "wasteful")


def _destructive(found: Findings) -> Headline | None:
    lost = found.destructive
    if lost is None:
        return None
    if lost.share_of_errors is None:
        return Headline(
            "0", "The final classifier makes no mistake here, so none was right at an earlier exit.", "lost"
        )
    share = percent(lost.share_of_errors)
    sentence = (
        f"{share} of the final classifier's {count(lost.errors)} mistakes{interval(lost.intervals, 'share_of_errors')} "
        f"were right at an earlier exit{_chance(lost)}. An ideal stopping rule would add "
        f"{points(lost.accuracy_gain, 1, sign=False)}{interval(lost.intervals, 'accuracy_gain', unit='points')}."
    )
    return Headline(share, sentence, "lost")


def _chance(lost: Destructive) -> str:
    if lost.chance is None:
        return ""
    said = f"; shuffled answers would reach {percent(lost.chance)}"
    if lost.chance_together is None:
        return said
    return f"{said}, and {percent(lost.chance_together)} with whole trajectories shuffled"


def _changing(found: Findings) -> Headline | None:
    ways = found.trajectories
    if len(found.exits) == 1:
        return None
    share = percent(ways.changing)
    sentence = (
        f"{share} of the samples change their answer on the way from the first exit to the last; a sample does so "
        f"{decimal(ways.mean_switches, 2)} times on average."
    )
    return Headline(share, sentence, "trajectories")


def _indicator(found: Findings) -> Headline | None:
    blocks, name = found.error_indicators, found.best_indicator
    if not blocks or name is None:
        return None
    best = blocks[name]
    sentence = (
        f"{name} tells the final classifier's mistakes{f' best of {len(blocks)} signals' if len(blocks) > 1 else ''}: "
        f"AUROC {_auroc(best)}, where guessing reaches 0.5"
    )
    if name != "confusion" and "confusion" in blocks:
        sentence += f"; confusion reaches {_auroc(blocks['confusion'])}"
    return Headline(decimal(best.auroc), f"{sentence}.", "indicators")


def _auroc(block: Detection) -> str:
    return f"{decimal(block.auroc)}{interval(block.intervals, 'auroc', scale=1, digits=3, unit='')}"


def _rule(found: Findings) -> Headline | None:
    rule = found.answer_rule
    if rule is None or not rule.changed:
        return None
    sentence = (
        f"Answering by the {rule.rule} changes the accuracy by {points(rule.gain)}"
        f"{interval(rule.intervals, 'gain', digits=2, unit='points')}, from {percent(rule.final_accuracy, 2)} to "
        f"{percent(rule.accuracy, 2)}."
    )
    return Headline(points(rule.gain).removesuffix("points").strip(), sentence, "answer-rule")
