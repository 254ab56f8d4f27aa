"""Which sections a report's page has; what cannot be said has none."""

from __future__ import annotations

from collections.abc import Sequence

from shallowdeep.analysis.analysis import Analysis
from shallowdeep.analysis.galleries import Gallery
from shallowdeep.audits.stored_audits import Audits
from shallowdeep.report.page_series import Series


def sections(
    analysis: Analysis,
    series: Series | None,
    galleries: Sequence[Gallery],
    audits: Audits,
) -> dict[str, str]:
    """Return the titles of the page's sections by their identifiers, in order."""
    found = analysis.findings
    many, labelled = len(found.exits) > 1, found.exits[-1].accuracy is not None
    titles = [
        ("exits", "Accuracy and cost of each exit" if labelled else "Cost of each exit", True),
        ("threshold", "Leaving early by a threshold", many and series is not None and series.confidence.shape[1] > 0),
        ("wasteful", "Wasteful: right before the end", many and found.wasteful is not None),
        ("lost", "Destructive: right, then wrong", many and found.destructive is not None),
        ("trajectories", "How answers change on the way", many),
        ("samples", "Samples to look at", any(gallery.samples for gallery in galleries)),
        ("confusion", "Confusion: how far exits disagree", found.confusion is not None),
        ("indicators", "Which signal tells mistakes", bool(found.error_indicators)),
        ("answer-rule", "Answering by more than the last exit", found.answer_rule is not None),
        ("confused", "Classes confused on the way", bool(found.classes_confused)),
        ("classes", "Class by class", bool(found.per_class)),
        ("backdoor", "A backdoor under study", audits.backdoor is not None),
        ("suspects", "Someone else's network, examined", audits.suspects is not None),
        ("slowdown", "Slowed down by small changes", audits.slowdown is not None),
        ("paper", "The paper's claims", bool(found.paper)),
        (
            "promise",
            "The promise" if analysis.promise else "The policy",
            bool(analysis.promise or analysis.policy),
        ),
        ("notes", "What else to know", any(note not in found.warnings for note in found.notes)),
        ("provenance", "Where these figures come from", True),
    ]
    return {name: title for name, title, shown in titles if shown}
