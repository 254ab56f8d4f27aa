"""What ``analyze`` prints in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.report.tables import plain_table

_NONE = "-"
MOST_CLASSES = 20


def analysis_tables(document: Mapping[str, Any]) -> Group:
    """Return sentences and tables of an ``analyze`` document; what cannot be said is left out."""
    parts: list[RenderableType] = [Text(heading(document), style="bold")]
    parts += [Text(note, style="italic") for note in document["notes"]]
    parts += [Text(sentence) for sentence in _sentences(document)]
    parts.append(_exits(document))
    for table in (_indicators(document), _classes(document), _paper(document)):
        if table is not None:
            parts.append(table)
    return Group(*parts)


def heading(document: Mapping[str, Any]) -> str:
    """Return what was analyzed, in one line."""
    name = document["dataset"] or document["source"]
    return f"{name}, {document['split']}, {document['samples']:,} samples"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction in per cent, without the sign; a dash for None."""
    return _NONE if fraction is None else f"{100 * fraction:.{digits}f}"


def between(block: Mapping[str, Any], name: str, scale: float = 100, digits: int = 1) -> str:
    """Return an interval as `` (low to high)``, or nothing where there is none."""
    bounds = block["intervals"].get(name)
    return "" if bounds is None else f" ({scale * bounds[0]:.{digits}f} to {scale * bounds[1]:.{digits}f})"


def _sentences(document: Mapping[str, Any]) -> list[str]:
    waste, lost, rule, ways = (document[k] for k in ("wasteful", "destructive", "answer_rule", "trajectories"))
    found = []
    if waste is not None:
        found.append(
            f"Wasteful: {percent(waste['share'])} %{between(waste, 'share')} of samples are right before the last "
            f"exit; stopping each at its first right exit would cost {waste['oracle_cost']:.2f} of the backbone."
        )
    if lost is not None:
        if lost["share_of_errors"] is None:
            found.append("Destructive: the final exit makes no error here.")
        else:
            found.append(
                f"Destructive: {percent(lost['share_of_errors'])} %{between(lost, 'share_of_errors')} of "
                f"{lost['errors']:,} errors were right at an earlier exit (by chance: {percent(lost['chance'])} % with "
                f"each exit's answers shuffled, {percent(lost['chance_together'])} % with whole trajectories); an "
                f"ideal stopping rule would add {percent(lost['accuracy_gain'])} points."
            )
    kinds = [f"{percent(ways['stable'])} % stable"]
    kinds += [
        f"{percent(ways[name])} % {name.replace('_', ' ')}"
        for name in ("wrong_to_right", "right_to_wrong", "flickering")
        if ways[name] is not None
    ]
    found.append(f"Trajectories: {', '.join(kinds)}.")
    found += _confusion(document["confusion"])
    if rule is not None:
        found.append(
            f"Answering by {rule['rule']} ({rule['chosen_on']}): {percent(rule['accuracy'], 2)} % instead of "
            f"{percent(rule['final_accuracy'], 2)} %, {100 * rule['gain']:+.2f} points{between(rule, 'gain', 100, 2)}."
        )
    if document["promise"]:
        found.append(f"Promise: {document['promise']}")
    return found


def _confusion(level: Mapping[str, Any] | None) -> list[str]:
    """Return the sentence on confusion, or none; the mean of all where right and wrong are not told apart."""
    if level is None or level["mean"] is None:
        return []
    unit = "" if level["normalisation"] is None else " (z-scored by training data)"
    if level["right_mean"] is None or level["wrong_mean"] is None:
        return [f"Confusion{unit}: {level['mean']:+.2f} on average."]
    return [
        (
            f"Confusion{unit}: {level['right_mean']:+.2f} on average where the final exit is right, "
            f"{level['wrong_mean']:+.2f} where it is wrong."
        )
    ]


def _exits(document: Mapping[str, Any]) -> RenderableType:
    waste, lost = document["wasteful"], document["destructive"]
    rows = []
    for k, exit_ in enumerate(document["exits"]):
        early = k < len(document["exits"]) - 1
        rows.append((
            str(k), exit_["name"], f"{exit_['relative_cost']:.3f}", percent(exit_["accuracy"]),
            percent(exit_["correct_so_far"]), waste["first_right"][k] if waste else None,
            lost["last_right_at"][k] if lost and early else None,
        ))  # fmt: skip
    columns = ["exit", "name", "cost", "accuracy %", "right so far %", "first right", "errors last right"]
    return plain_table("", columns, rows)


def _indicators(document: Mapping[str, Any]) -> RenderableType | None:
    indicators = document["error_indicators"]
    if indicators is None:
        return None
    rows = [
        (
            f"{name} *" if name == document["best_indicator"] else name,
            f"{block['auroc']:.3f}{between(block, 'auroc', 1, 3)}",
            percent(block["fpr95"]), percent(block["aurc"], 2), percent(block["augrc"], 2),
        )
        for name, block in sorted(indicators.items(), key=lambda item: -item[1]["auroc"])
    ]  # fmt: skip
    columns = ["indicator of errors", "AUROC", "FPR at 95 % TPR, %", "AURC %", "AUGRC %"]
    return plain_table("", columns, rows)


def _classes(document: Mapping[str, Any]) -> RenderableType | None:
    classes = document["per_class"]
    if classes is None or len(classes) > MOST_CLASSES:
        return None
    rows = [
        (c["class"], c["samples"], percent(c["accuracy"]), percent(c["wasteful"]), percent(c["destructive"]))
        for c in classes
    ]
    return plain_table("", ["class", "samples", "accuracy %", "wasteful %", "destructive %"], rows)


def _paper(document: Mapping[str, Any]) -> RenderableType | None:
    words = {True: "agrees", False: "does not agree", None: "cannot be said"}
    rows = [(c["claim"], c["paper"], c["measured"], words[c["agrees"]]) for c in document["paper"]]
    return plain_table("", ["the paper's claim", "there", "here", ""], rows) if rows else None
