"""Which sections a report's page has; what cannot be said has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shallowdeep.report.page_series import Series


def sections(
    document: Mapping[str, Any],
    series: Series | None,
    galleries: Sequence[Mapping[str, Any]],
    audits: Mapping[str, Any],
) -> dict[str, str]:
    """Return the titles of the page's sections by their identifiers, in order."""
    many = len(document["exits"]) > 1
    labelled = document["exits"][-1]["accuracy"] is not None
    waste, lost = document["wasteful"], document["destructive"]
    found = [
        ("exits", "Accuracy and cost of each exit" if labelled else "Cost of each exit", True),
        ("threshold", "Leaving early by a threshold", many and series is not None and series.confidence.shape[1] > 0),
        ("wasteful", "Wasteful: right before the end", many and waste is not None),
        ("lost", "Destructive: right, then wrong", many and lost is not None),
        ("trajectories", "How answers change on the way", many and document["trajectories"] is not None),
        ("samples", "Samples to look at", any(gallery["samples"] for gallery in galleries)),
        ("confusion", "Confusion: how far exits disagree", document["confusion"] is not None),
        ("indicators", "Which signal tells mistakes", bool(document["error_indicators"])),
        ("answer-rule", "Answering by more than the last exit", document["answer_rule"] is not None),
        ("confused", "Classes confused on the way", bool(document["classes_confused"])),
        ("classes", "Class by class", bool(document["per_class"])),
        ("backdoor", "A backdoor under study", "backdoor" in audits),
        ("suspects", "Someone else's network, examined", "suspects" in audits),
        ("slowdown", "Slowed down by small changes", "slowdown" in audits),
        ("paper", "The paper's claims", bool(document["paper"])),
        (
            "promise",
            "The promise" if document["promise"] else "The policy",
            bool(document["promise"] or document["policy"]),
        ),
        ("provenance", "Where these figures come from", bool(document["provenance"])),
    ]
    return {name: title for name, title, shown in found if shown}
