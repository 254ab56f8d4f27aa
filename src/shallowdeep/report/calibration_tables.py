"""Tables of the ``calibrate`` document for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.report.tables import plain_table

_NEVER = 1.0  # a threshold above it is one that no signal reaches


def calibration_tables(document: Mapping[str, Any]) -> RenderableType:
    """Return the ``calibrate`` document for people: the policy, what it does on each split, and what is promised.

    Args:
        document: as ``shallowdeep.workflows.calibrate.calibrate_run`` returns it, or read back from JSON.

    Returns:
        One rich renderable, at most 80 columns wide but for the promise.
    """
    policy = document["policy"]
    parts: list[RenderableType] = [
        plain_table(
            f"{document['dataset']}: signal {policy['signal']}, when none is confident {policy['fallback']}",
            ["exit", "name", "leaves from", "share % tune", "share % test"],
            _exit_rows(document),
        ),
        plain_table(
            "",
            ["split", "samples", "accuracy %", "points lost", "other answer %", "cost"],
            [_split_row(name, document[name]) for name in ("tune", "certify", "test")],
        ),
    ]
    if document["temperatures"] is not None:
        parts.append(Text(_temperature_line(document["temperatures"])))
    if policy["ensemble"] is not None:
        parts.append(Text("Answers by the exits passed so far, with weights and class biases fitted on tune."))
    if document["backbone"] is not None:
        other = document["backbone"]
        parts.append(Text(f"Against {other['run']} (test): {100 * other['accuracy_lost']:+.2f} points lost."))
    if document["abstention"] is not None:
        found, shown = document["abstention"], document["test"]["answered"]
        rate = "-" if shown["error_rate"] is None else f"{100 * shown['error_rate']:.2f}"
        parts.append(
            Text(
                f"Abstains by {found['indicator']}: answers {100 * shown['answered_share']:.1f} % of test, {rate} % of "
                "these wrongly."
            )
        )
        parts.append(Text(f"Promise: {found['promise']['sentence']}", style="bold"))
    if document["promise"] is not None:
        parts.append(Text(f"Promise: {document['promise']['sentence']}", style="bold"))
    return Group(*parts)


def _exit_rows(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Return a row for each exit: what it takes to leave there, and how many do."""
    thresholds = [*document["policy"]["thresholds"], 0.0]
    rows = []
    for k, (name, threshold) in enumerate(zip(document["exits"], thresholds, strict=True)):
        leaves = "off" if threshold is None else "never" if threshold > _NEVER else f"{threshold:.4f}"
        final = k == len(thresholds) - 1
        shares = [f"{100 * document[split]['exit_shares'][k]:.1f}" for split in ("tune", "test")]
        rows.append((k, name, "always" if final else leaves, *shares))
    return rows


def _split_row(name: str, block: Mapping[str, Any]) -> tuple[object, ...]:
    """Return a split's row; points lost are against the network's own final exit."""
    return (
        name,
        block["samples"],
        f"{100 * block['accuracy']:.2f}",
        f"{100 * block['accuracy_lost'] + 0.0:+.2f}",
        f"{100 * block['disagreement']:.2f}",
        f"{block['relative_cost']:.3f}",
    )


def _temperature_line(temperatures: Mapping[str, Any]) -> str:
    """Return what temperatures change: how well probabilities fit the labels."""
    values = " ".join(f"{value:.2f}" for value in temperatures["values"])
    before, after = (
        sum(temperatures[name]) / len(temperatures[name]) for name in ("label_loss_before", "label_loss_after")
    )
    return f"Temperatures {values}: mean label loss of the exits on tune {before:.4f} -> {after:.4f} nats."
