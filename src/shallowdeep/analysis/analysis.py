"""The document of ``analyze``: what predictions show, what they are of, and what is needed to get it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shallowdeep.analysis.findings import Findings
from shallowdeep.documents import plain


@dataclass(frozen=True)
class Provenance:
    """What is needed to get the figures of an analysis again.

    Attributes:
        command: as it was typed.
        date: of the analysis, as in ``2026-11-25``.
        seed: of the run; None for predictions of another program.
        resamples: for the intervals; 0 for none.
        versions: of Python and of the packages that are installed, by name.
        machine: its processor.
        weights: SHA-256 of the weights file; None for predictions of another program.
    """

    command: str
    date: str
    seed: int | None
    resamples: int
    versions: Mapping[str, str]
    machine: str
    weights: str | None


@dataclass(frozen=True)
class Analysis:
    """Findings, and what they are of.

    Attributes:
        source: the run or the file.
        dataset: its name; None where it is not known.
        split: of the data, or ``file``.
        findings: what the predictions show.
        policy: the run's own, as names and values; None where there is none.
        promise: what that policy guarantees, in words; None for nothing.
        provenance: where the figures come from.
        skipped_files: names of the images that were left out, as far as they are known.
    """

    source: str
    dataset: str | None
    split: str
    findings: Findings
    policy: Mapping[str, object] | None
    promise: str | None
    provenance: Provenance
    skipped_files: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return all of it as one JSON document, in which the findings stand beside the rest."""
        document: dict[str, Any] = {"source": self.source, "dataset": self.dataset, "split": self.split}
        document |= plain(self.findings)
        rest = {
            "policy": self.policy, "promise": self.promise, "provenance": self.provenance,
            "skipped_files": self.skipped_files,
        }  # fmt: skip
        return document | {name: plain(value) for name, value in rest.items()}
