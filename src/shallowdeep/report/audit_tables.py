"""Tables of the ``audit`` documents for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.report.tables import plain_table

_FILES_SHOWN = 10
_ANSWERING = ("answer", "clean acc. %", "triggered %", "attack %", "cost")


def backdoor_tables(document: Mapping[str, Any]) -> RenderableType:
    """Return the ``audit backdoor`` or ``audit suspects`` document for people.

    Args:
        document: as ``study_backdoor`` or ``audit_suspects`` return it, or read back from JSON.

    Returns:
        One rich renderable, at most 80 columns wide but for sentences.
    """
    return _study(document) if document["mode"] == "study" else _suspects(document)


def _study(document: Mapping[str, Any]) -> RenderableType:
    title = (
        f"{document['model']} on {document['data']}: {document['trigger']} on {100 * document['poison_ratio']:g} % of "
        f"the training images, to {document['target']}"
    )
    poisoned = document["poisoned_ics"]
    rows = [
        (
            number, exit_["name"], f"{exit_['relative_cost']:.3f}", _percent(exit_["clean_accuracy"]),
            _percent(exit_["attack_success"]), _percent(other["attack_success"]),
        )
        for number, (exit_, other) in enumerate(zip(document["exits"], poisoned["exits"], strict=True))
    ]  # fmt: skip
    confusion = document["confusion"]
    inputs, triggered = (document["detectors"][name] for name in ("inputs", "triggered"))
    return Group(
        Text(title, style="bold"),
        *(Text(f"Note: {note}") for note in document.get("notes", [])),
        plain_table("", ["exit", "name", "cost", "clean acc. %", "attack %", "attack %, poisoned ICs"], rows),
        Text(_depth(document["trigger_depth"], poisoned["trigger_depth"])),
        Text(
            f"Confusion: {confusion['clean_mean']:+.2f} on clean images, {confusion['triggered_mean']:+.2f} on "
            f"triggered ones (AUROC {confusion['auroc']:.3f}; of poisoned data {poisoned['confusion']['auroc']:.3f})."
        ),
        Text(""),
        _detectors(
            f"Detecting triggered inputs ({inputs:,} inputs, {triggered} of them triggered)", document["detectors"]
        ),
        _detectors(
            f"Detecting poisoned training images ({document['training_set']['images']:,})", document["training_set"]
        ),
        *([Text(f"Note: {note}")] if (note := document["detectors"].get("note")) else []),
        plain_table(
            "Answering otherwise",
            _ANSWERING,
            [_mitigation_row(row) for row in document["mitigation"]],
        ),
        plain_table(
            "... with internal classifiers of poisoned data",
            _ANSWERING,
            [_mitigation_row(row) for row in poisoned["mitigation"]],
        ),
        *(Text(f"  {row['name']}: {row['rule']}", style="dim") for row in document["mitigation"]),
    )


def _depth(depth: int | None, poisoned: int | None) -> str:
    """Where the trigger first wins more than half of the images."""

    def where(number: int | None) -> str:
        return "at no exit" if number is None else f"first at exit {number}"

    return f"The trigger wins {where(depth)}; with internal classifiers of poisoned data {where(poisoned)}."


def _detectors(title: str, block: Mapping[str, Any]) -> RenderableType:
    rows = []
    for name, found in block["by_name"].items():
        low, high = found["intervals"].get("auroc", (None, None))
        bounds = "-" if low is None else f"{low:.3f} to {high:.3f}"
        rows.append((name, f"{found['auroc']:.3f}", bounds, _percent(found["fpr95"]), f"{found['forward_passes']:g}"))
    return plain_table(title, ["detector", "AUROC", "95 % interval", "FPR95 %", "passes"], rows)


def _mitigation_row(row: Mapping[str, Any]) -> Sequence[object]:
    cost = None if row["relative_cost"] is None else f"{row['relative_cost']:.3f}"
    shares = (_percent(row[name]) for name in ("clean_accuracy", "triggered_accuracy", "attack_success"))
    return (row["name"], *shares, cost)


def _suspects(document: Mapping[str, Any]) -> RenderableType:
    rows = [
        (number, exit_["name"], f"{exit_['relative_cost']:.3f}", _percent(exit_["clean_accuracy"]))
        for number, exit_ in enumerate(document["exits"])
    ]
    title = f"{document['model']} with {document['weights_file']}, {document['clean']:,} clean images held out"
    parts: list[RenderableType] = [
        Text(title, style="bold"),
        *(Text(f"Note: {note}") for note in document["notes"]),
        plain_table("", ["exit", "name", "cost", "clean acc. %"], rows),
    ]
    if document["mode"] == "suspects":
        parts += _suspect_parts(document)
    else:
        probes = [
            (
                probe["trigger"], probe["target"], _percent(probe["share"]), _percent(probe["placebo_share"]),
                f"{probe['adjusted']:.2g}",
            )
            for probe in document["probes"]
        ]  # fmt: skip
        heading = ["trigger", "to", "share %", "most by placebos %", "p adjusted"]
        parts.append(plain_table("Known triggers on clean images", heading, probes))
    parts.append(Text(document["verdict"], style="bold"))
    return Group(*parts, *(Text(f"  {limit}", style="dim") for limit in document["limits"]))


def _suspect_parts(document: Mapping[str, Any]) -> list[RenderableType]:
    """Tests, and the suspects that stand out."""
    tests = [
        (test["name"], test["suspects"], f"{test['auroc']:.3f}", f"{test['p_value']:.2g}", f"{test['adjusted']:.2g}")
        for test in document["tests"]
    ]
    heading = ["suspects", "number", "AUROC", "p", "p adjusted"]
    parts: list[RenderableType] = [
        plain_table("Are suspects more confused than clean images, or less?", heading, tests)
    ]
    flagged = document["flagged"]
    if flagged:
        rows = [(one["file"], one["answer"], f"{one['confusion']:+.2f}") for one in flagged[:_FILES_SHOWN]]
        title = f"{len(flagged)} suspects stand out (false discoveries at most {document['level']:.0%})"
        parts.append(plain_table(title, ["file", "answer", "confusion"], rows))
    if len(flagged) > _FILES_SHOWN:
        parts.append(Text(f"... and {len(flagged) - _FILES_SHOWN:,} more; --json gives all"))
    if document["unreadable"]:
        parts.append(Text(f"Left out, since they cannot be decoded: {len(document['unreadable'])}"))
    return parts


def slowdown_tables(document: Mapping[str, Any]) -> RenderableType:
    """Return the ``audit slowdown`` document for people.

    Args:
        document: as ``audit_slowdown`` returns it, or read back from JSON.

    Returns:
        One rich renderable, at most 80 columns wide but for sentences.
    """
    title = (
        f"{document['run']} on {document['samples']} images of {document['data']}, pixels changed by at most "
        f"{255 * document['epsilon']:g}/255"
    )
    kinds = [kind for kind in ("clean", "per_sample", "universal", "transfer") if kind in document["policies"][0]]
    parts: list[RenderableType] = [Text(title, style="bold")]
    for block in document["policies"]:
        rows = [(kind.replace("_", " "), *_cells(block[kind])) for kind in kinds]
        parts.append(plain_table(_sentence(block["name"]), ["images", *_HEADINGS], rows))
    defences = [
        (row["name"], images, *_cells(row[key]))
        for row in document["defences"]
        for images, key in (("clean", "clean"), ("attacked", "attacked"))
    ]
    parts.append(plain_table(f"Defences ({document['defended_policy']})", ["defence", "images", *_HEADINGS], defences))
    parts += [Text(f"  {row['name']}: {row['rule']}", style="dim") for row in document["defences"]]
    machine = document["machine"]
    where = machine.get("gpu") or f"threads: {machine['threads']}"
    title = f"Milliseconds a batch of the engine ({document['backend']}, {where}), taking turns"
    rows = [
        (
            _sentence(block["name"]),
            one["batch_size"],
            f"{one['clean_ms']:.2f}",
            f"{one['attacked_ms']:.2f}",
            _ratio(one),
        )
        for block in document["policies"]
        for one in block["latency"]
    ]
    if rows:
        parts.append(plain_table(title, ["policy", "batch", "clean", "attacked", "times as long"], rows))
    parts.append(Text(f"Crafted {document['images_per_second']['per_sample']:.1f} images a second."))
    return Group(*parts, Text(document["sizing"], style="bold"))


def _ratio(timed: Mapping[str, Any]) -> str:
    ratio = timed["ratio"]
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


_HEADINGS = ("accuracy %", "efficacy", "cost", "worst")


def _cells(block: Mapping[str, Any]) -> Sequence[object]:
    numbers = (f"{block[name]:.3f}" for name in ("efficacy", "relative_cost", "worst_relative_cost"))
    return (_percent(block["accuracy"]), *numbers)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:.1f}"
