"""What is needed to get the figures of an analysis again."""

from __future__ import annotations

import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version

from shallowdeep.analysis.analysis import Provenance
from shallowdeep.machine import this_machine

PACKAGES = ("shallowdeep", "torch", "numpy", "scikit-learn")


def provenance(command: str, resamples: int, seed: int | None = None, weights: str | None = None) -> Provenance:
    """Return the provenance of an analysis made now, on this machine.

    Args:
        command: as it was typed.
        resamples: of the intervals.
        seed: of the run; None for predictions of another program.
        weights: SHA-256 of the weights file, or None.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Provenance(
        command=command,
        date=date.today().isoformat(),  # noqa: DTZ011 - the user's own day
        seed=seed,
        resamples=resamples,
        versions={**versions, "python": platform.python_version()},
        machine=this_machine(1).cpu,
        weights=weights,
    )
