"""What ``analyze`` prints in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.analysis.analysis import Analysis
from shallowdeep.analysis.bootstrap import Intervals
from shallowdeep.analysis.confusion_levels import ConfusionLevels
from shallowdeep.analysis.findings import Findings
from shallowdeep.report.tables import percent, plain_table

MOST_CLASSES = 20


def analysis_tables(analysis: Analysis) -> Group:
    """Return sentences and tables of what ``analyze`` found; what cannot be said is left out."""
    found = analysis.findings
    parts: list[RenderableType] = [Text(heading(analysis), style="bold")]
    parts += [Text(note, style="italic") for note in found.notes]
    parts += [Text(sentence) for sentence in _sentences(analysis)]
    parts.append(_exits(found))
    for table in (_indicators(found), _classes(found), _paper(found)):
        if table is not None:
            parts.append(table)
    return Group(*parts)


def heading(analysis: Analysis) -> str:
    """Return what was analyzed, in one line."""
    return f"{analysis.dataset or analysis.source}, {analysis.split}, {analysis.findings.samples:,} samples"


def between(intervals: Intervals, name: str, scale: float = 100, digits: int = 1) -> str:
    """Return an interval as `` (low to high)``, or nothing where there is none."""
    bounds = intervals.get(name)
    return "" if bounds is None else f" ({scale * bounds[0]:.{digits}f} to {scale * bounds[1]:.{digits}f})"


def _sentences(analysis: Analysis) -> list[str]:
    found = analysis.findings
    waste, lost, rule, ways = found.wasteful, found.destructive, found.answer_rule, found.trajectories
    said = []
    if waste is not None:
        said.append(
            f"Wasteful: {percent(waste.share)} %{between(waste.intervals, 'share')} of samples are right before the "
            f"last exit; stopping each at its first right exit would cost {waste.oracle_cost:.2f} of the backbone."
        )
    if lost is not None:
        if lost.share_of_errors is None:
            said.append("Destructive: the final exit makes no error here.")
        else:
            said.append(
                f"Destructive: {percent(lost.share_of_errors)} %{between(lost.intervals, 'share_of_errors')} of "
                f"{lost.errors:,} errors were right at an earlier exit (by chance: {percent(lost.chance)} % with "
                f"each exit's answers shuffled, {percent(lost.chance_together)} % with whole trajectories); an "
                f"ideal stopping rule would add {percent(lost.accuracy_gain)} points."
            )
    kinds = [
        ("stable", ways.stable),
        ("wrong to right", ways.wrong_to_right),
        ("right to wrong", ways.right_to_wrong),
        ("flickering", ways.flickering),
    ]
    shares = [f"{percent(share)} % {name}" for name, share in kinds if share is not None]
    said.append(f"Trajectories: {', '.join(shares)}.")
    said += _confusion(found.confusion)
    if rule is not None:
        said.append(
            f"Answering by {rule.rule} ({rule.chosen_on}): {percent(rule.accuracy, 2)} % instead of "
            f"{percent(rule.final_accuracy, 2)} %, {100 * rule.gain:+.2f} points"
            f"{between(rule.intervals, 'gain', 100, 2)}."
        )
    if analysis.promise:
        said.append(f"Promise: {analysis.promise}")
    return said


def _confusion(level: ConfusionLevels | None) -> list[str]:
    """Return the sentence on confusion, or none; the mean of all where right and wrong are not told apart."""
    if level is None:
        return []
    unit = "" if level.normalisation is None else " (z-scored by training data)"
    if level.right_mean is None or level.wrong_mean is None:
        return [f"Confusion{unit}: {level.mean:+.2f} on average."]
    return [
        (
            f"Confusion{unit}: {level.right_mean:+.2f} on average where the final exit is right, "
            f"{level.wrong_mean:+.2f} where it is wrong."
        )
    ]


def _exits(found: Findings) -> RenderableType:
    waste, lost = found.wasteful, found.destructive
    rows = []
    for k, exit_ in enumerate(found.exits):
        early = k < len(found.exits) - 1
        rows.append((
            str(k), exit_.name, f"{exit_.relative_cost:.3f}", percent(exit_.accuracy), percent(exit_.correct_so_far),
            waste.first_right[k] if waste else None, lost.last_right_at[k] if lost and early else None,
        ))  # fmt: skip
    columns = ["exit", "name", "cost", "accuracy %", "right so far %", "first right", "errors last right"]
    return plain_table("", columns, rows)


def _indicators(found: Findings) -> RenderableType | None:
    if found.error_indicators is None:
        return None
    rows = [
        (
            f"{name} *" if name == found.best_indicator else name,
            f"{block.auroc:.3f}{between(block.intervals, 'auroc', 1, 3)}",
            percent(block.fpr95), percent(block.aurc, 2), percent(block.augrc, 2),
        )
        for name, block in sorted(found.error_indicators.items(), key=lambda item: -item[1].auroc)
    ]  # fmt: skip
    columns = ["indicator of errors", "AUROC", "FPR at 95 % TPR, %", "AURC %", "AUGRC %"]
    return plain_table("", columns, rows)


def _classes(found: Findings) -> RenderableType | None:
    classes = found.per_class
    if classes is None or len(classes) > MOST_CLASSES:
        return None
    rows = [
        (one.class_, one.samples, percent(one.accuracy), percent(one.wasteful), percent(one.destructive))
        for one in classes
    ]
    return plain_table("", ["class", "samples", "accuracy %", "wasteful %", "destructive %"], rows)


def _paper(found: Findings) -> RenderableType | None:
    words = {True: "agrees", False: "does not agree", None: "cannot be said"}
    rows = [(one.claim, one.paper, one.measured, words[one.agrees]) for one in found.paper]
    return plain_table("", ["the paper's claim", "there", "here", ""], rows) if rows else None
