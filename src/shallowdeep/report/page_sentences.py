"""The report's headline figures as plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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


def headlines(document: Mapping[str, Any]) -> list[Headline]:
    """Return the findings of an ``analyze`` document that can be said, most important first."""
    makers = (_final, _wasteful, _destructive, _changing, _indicator, _rule)
    found = (maker(document) for maker in makers)
    return [headline for headline in found if headline is not None]


def _final(document: Mapping[str, Any]) -> Headline | None:
    final = document["exits"][-1]
    if final["accuracy"] is None:
        return None
    sentence = f"The final classifier is right for {percent(final['accuracy'])} of {count(document['samples'])} samples"
    if len(document["exits"]) > 1 and document["cumulative_accuracy"] is not None:
        sentence += f"; one exit or another is right for {percent(document['cumulative_accuracy'])}"
    return Headline(percent(final["accuracy"]), f"{sentence}.", "exits")


def _wasteful(document: Mapping[str, Any]) -> Headline | None:
    block = document["wasteful"]
    if block is None or block["share"] is None:
        return None
    sentence = (
        f"Some exit before the last is right for {percent(block['share'])} of the samples{interval(block, 'share')}"
    )
    if block["oracle_cost"] is not None:
        sentence += (
            f"; stopping each at its first right exit would cost {percent(block['oracle_cost'])} of the backbone"
            f"{interval(block, 'oracle_cost')}"
        )
    return Headline(percent(block["share"]), f"{sentence}.", "wasteful")


def _destructive(document: Mapping[str, Any]) -> Headline | None:
    block = document["destructive"]
    if block is None:
        return None
    if not block["errors"]:
        return Headline(
            "0", "The final classifier makes no mistake here, so none was right at an earlier exit.", "lost"
        )
    if block["share_of_errors"] is None:
        return None
    share = percent(block["share_of_errors"])
    sentence = (
        f"{share} of the final classifier's {count(block['errors'])} mistakes{interval(block, 'share_of_errors')} "
        f"were right at an earlier exit{_chance(block)}."
    )
    if block["accuracy_gain"] is not None:
        gain = points(block["accuracy_gain"], 1, sign=False)
        sentence += f" An ideal stopping rule would add {gain}{interval(block, 'accuracy_gain', unit='points')}."
    return Headline(share, sentence, "lost")


def _chance(block: Mapping[str, Any]) -> str:
    alone, together = block["chance"], block.get("chance_together")
    if alone is None:
        return ""
    said = f"; shuffled answers would reach {percent(alone)}"
    return said if together is None else f"{said}, and {percent(together)} with whole trajectories shuffled"


def _changing(document: Mapping[str, Any]) -> Headline | None:
    ways = document["trajectories"]
    if len(document["exits"]) == 1 or ways is None or ways["changing"] is None:
        return None
    sentence = (
        f"{percent(ways['changing'])} of the samples change their answer on the way from the first exit to the last"
    )
    if ways["mean_switches"] is not None:
        sentence += f"; a sample does so {decimal(ways['mean_switches'], 2)} times on average"
    return Headline(percent(ways["changing"]), f"{sentence}.", "trajectories")


def _indicator(document: Mapping[str, Any]) -> Headline | None:
    blocks, best = document["error_indicators"], document["best_indicator"]
    if not blocks or best is None or blocks[best]["auroc"] is None:
        return None
    auroc = decimal(blocks[best]["auroc"])
    sentence = (
        f"{best} tells the final classifier's mistakes{f' best of {len(blocks)} signals' if len(blocks) > 1 else ''}: "
        f"AUROC {auroc}{interval(blocks[best], 'auroc', scale=1, digits=3, unit='')}, where guessing reaches 0.5"
    )
    if best != "confusion" and "confusion" in blocks:
        other = blocks["confusion"]
        sentence += (
            f"; confusion reaches {decimal(other['auroc'])}{interval(other, 'auroc', scale=1, digits=3, unit='')}"
        )
    return Headline(auroc, f"{sentence}.", "indicators")


def _rule(document: Mapping[str, Any]) -> Headline | None:
    rule = document["answer_rule"]
    if rule is None or rule["gain"] is None or not rule["changed"]:
        return None
    sentence = (
        f"Answering by the {rule['rule']} changes the accuracy by {points(rule['gain'])}"
        f"{interval(rule, 'gain', digits=2, unit='points')}, from {percent(rule['final_accuracy'], 2)} to "
        f"{percent(rule['accuracy'], 2)}."
    )
    return Headline(points(rule["gain"]).removesuffix("points").strip(), sentence, "answer-rule")
