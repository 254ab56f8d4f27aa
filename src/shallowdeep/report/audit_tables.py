"""Tables of what audits found, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.audits.backdoor_audit import Answering, BackdoorAudit, InputDetection, TrainingSetDetection
from shallowdeep.audits.slowdown_audit import AttackedPolicy, SlowdownAudit, SlowdownFigures
from shallowdeep.audits.suspects_audit import SuspectsAudit, TriggersAudit
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.report.tables import percent, plain_table

_FILES_SHOWN = 10
_ANSWERING = ("answer", "clean acc. %", "triggered %", "attack %", "cost")
_SLOWDOWN = ("accuracy %", "efficacy", "cost", "worst")


def backdoor_tables(audit: BackdoorAudit) -> RenderableType:
    """Return what ``audit backdoor`` found, for people.

    Args:
        audit: of a study.

    Returns:
        One rich renderable, at most 80 columns wide but for sentences.
    """
    title = (
        f"{audit.model} on {audit.data}: {audit.trigger} on {100 * audit.poison_ratio:g} % of the training images, to "
        f"{audit.target}"
    )
    poisoned, confusion, training = audit.poisoned_ics, audit.confusion, audit.training_set
    rows = [
        (
            number, exit_.name, f"{exit_.relative_cost:.3f}", percent(exit_.clean_accuracy),
            percent(exit_.attack_success), percent(other.attack_success),
        )
        for number, (exit_, other) in enumerate(zip(audit.exits, poisoned.exits, strict=True))
    ]  # fmt: skip
    inputs = f"{audit.detectors.inputs:,} inputs, {audit.detectors.triggered} of them triggered"
    return Group(
        Text(title, style="bold"),
        *(Text(f"Note: {note}") for note in audit.notes),
        plain_table("", ["exit", "name", "cost", "clean acc. %", "attack %", "attack %, poisoned ICs"], rows),
        Text(_depth(audit.trigger_depth, poisoned.trigger_depth)),
        Text(
            f"Confusion: {confusion.clean_mean:+.2f} on clean images, {confusion.triggered_mean:+.2f} on triggered "
            f"ones (AUROC {confusion.auroc:.3f}; of poisoned data {poisoned.confusion.auroc:.3f})."
        ),
        Text(""),
        _detectors(f"Detecting triggered inputs ({inputs})", audit.detectors),
        _detectors(f"Detecting poisoned training images ({training.images:,})", training),
        *([Text(f"Note: {audit.detectors.note}")] if audit.detectors.note else []),
        plain_table("Answering otherwise", _ANSWERING, [_answering_row(row) for row in audit.mitigation]),
        plain_table(
            "... with internal classifiers of poisoned data",
            _ANSWERING,
            [_answering_row(row) for row in poisoned.mitigation],
        ),
        *(Text(f"  {row.name}: {row.rule}", style="dim") for row in audit.mitigation),
    )


def _depth(depth: int | None, poisoned: int | None) -> str:
    """Where the trigger first wins more than half of the images."""

    def where(number: int | None) -> str:
        return "at no exit" if number is None else f"first at exit {number}"

    return f"The trigger wins {where(depth)}; with internal classifiers of poisoned data {where(poisoned)}."


def _detectors(title: str, found: InputDetection | TrainingSetDetection) -> RenderableType:
    rows = []
    for name, figures in found.by_name.items():
        interval = figures.intervals.get("auroc")
        bounds = "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
        rows.append((name, f"{figures.auroc:.3f}", bounds, percent(figures.fpr95), f"{figures.forward_passes}"))
    return plain_table(title, ["detector", "AUROC", "95 % interval", "FPR95 %", "passes"], rows)


def _answering_row(row: Answering) -> Sequence[object]:
    cost = None if row.relative_cost is None else f"{row.relative_cost:.3f}"
    shares = (row.clean_accuracy, row.triggered_accuracy, row.attack_success)
    return (row.name, *(percent(share) for share in shares), cost)


def suspects_tables(audit: SuspectsAudit | TriggersAudit) -> RenderableType:
    """Return what ``audit suspects`` found, for people.

    Args:
        audit: with suspect images, or with known triggers.

    Returns:
        One rich renderable, at most 80 columns wide but for sentences.
    """
    rows = [
        (number, exit_.name, f"{exit_.relative_cost:.3f}", percent(exit_.clean_accuracy))
        for number, exit_ in enumerate(audit.exits)
    ]
    title = f"{audit.model} with {audit.weights_file}, {audit.clean:,} clean images held out"
    return Group(
        Text(title, style="bold"),
        *(Text(f"Note: {note}") for note in audit.notes),
        plain_table("", ["exit", "name", "cost", "clean acc. %"], rows),
        *(_suspects(audit) if isinstance(audit, SuspectsAudit) else _probes(audit)),
        Text(audit.verdict, style="bold"),
        *(Text(f"  {limit}", style="dim") for limit in audit.limits),
    )


def _suspects(audit: SuspectsAudit) -> list[RenderableType]:
    """Tests, and the suspects that stand out."""
    tests = [
        (test.name, test.suspects, f"{test.auroc:.3f}", f"{test.p_value:.2g}", f"{test.adjusted:.2g}")
        for test in audit.tests
    ]
    heading = ["suspects", "number", "AUROC", "p", "p adjusted"]
    parts: list[RenderableType] = [
        plain_table("Are suspects more confused than clean images, or less?", heading, tests)
    ]
    if audit.flagged:
        rows = [(one.file, one.answer, f"{one.confusion:+.2f}") for one in audit.flagged[:_FILES_SHOWN]]
        title = f"{len(audit.flagged)} suspects stand out (false discoveries at most {audit.level:.0%})"
        parts.append(plain_table(title, ["file", "answer", "confusion"], rows))
    if len(audit.flagged) > _FILES_SHOWN:
        parts.append(Text(f"... and {len(audit.flagged) - _FILES_SHOWN:,} more; --json gives all"))
    if audit.unreadable:
        parts.append(Text(f"Left out, since they cannot be decoded: {len(audit.unreadable)}"))
    return parts


def _probes(audit: TriggersAudit) -> list[RenderableType]:
    """What each known trigger does, beside its placebos."""
    rows = [
        (probe.trigger, probe.target, percent(probe.share), percent(probe.placebo_share), f"{probe.adjusted:.2g}")
        for probe in audit.probes
    ]
    heading = ["trigger", "to", "share %", "most by placebos %", "p adjusted"]
    return [plain_table("Known triggers on clean images", heading, rows)]


def slowdown_tables(audit: SlowdownAudit) -> RenderableType:
    """Return what ``audit slowdown`` found, for people.

    Args:
        audit: of a run.

    Returns:
        One rich renderable, at most 80 columns wide but for sentences.
    """
    title = (
        f"{audit.run} on {audit.samples} images of {audit.data}, pixels changed by at most {255 * audit.epsilon:g}/255"
    )
    defences = [
        (row.name, images, *_slowdown_cells(figures))
        for row in audit.defences
        for images, figures in (("clean", row.clean), ("attacked", row.attacked))
    ]
    return Group(
        Text(title, style="bold"),
        *(_attacked_table(block) for block in audit.policies),
        plain_table(f"Defences ({audit.defended_policy})", ["defence", "images", *_SLOWDOWN], defences),
        *(Text(f"  {row.name}: {row.rule}", style="dim") for row in audit.defences),
        *_latencies(audit),
        Text(f"Crafted {audit.images_per_second.per_sample:.1f} images a second."),
        Text(audit.sizing, style="bold"),
    )


def _attacked_table(block: AttackedPolicy) -> RenderableType:
    """One policy on each kind of image."""
    kinds = [
        ("clean", block.clean), ("per sample", block.per_sample), ("universal", block.universal),
        ("transfer", block.transfer),
    ]  # fmt: skip
    rows = [(name, *_slowdown_cells(figures)) for name, figures in kinds if figures is not None]
    return plain_table(_sentence(block.name), ["images", *_SLOWDOWN], rows)


def _latencies(audit: SlowdownAudit) -> list[RenderableType]:
    """How long batches take, where that was measured."""
    rows = [
        (_sentence(block.name), one.batch_size, f"{one.clean_ms:.2f}", f"{one.attacked_ms:.2f}", _ratio(one.ratio))
        for block in audit.policies
        for one in block.latency
    ]
    where = audit.machine.gpu or f"threads: {audit.machine.threads}"
    title = f"Milliseconds a batch of the engine ({audit.backend}, {where}), timed in turn"
    return [plain_table(title, ["policy", "batch", "clean", "attacked", "times as long"], rows)] if rows else []


def _ratio(ratio: PairedRatio) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _slowdown_cells(figures: SlowdownFigures) -> Sequence[object]:
    numbers = (figures.efficacy, figures.relative_cost, figures.worst_relative_cost)
    return (percent(figures.accuracy), *(f"{number:.3f}" for number in numbers))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
