"""The machine a program runs on: what figures were measured with (no torch)."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from shallowdeep.cpu_quota import cpu_quota

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What libraries read their number of threads from, when they are loaded."""

_limit: dict[str, int] = {}  # what `use_threads` was told


@dataclass(frozen=True)
class Machine:
    """What figures were measured on, and when.

    Attributes:
        cpu: name of the processor.
        cores: that the machine has.
        threads: that were used.
        python: its version.
        date: of the measurement, as YYYY-MM-DD.
        gpu: name of the GPU that was used; None for none.
    """

    cpu: str
    cores: int | None
    threads: int
    python: str
    date: str
    gpu: str | None = None


def available_cores() -> int:
    """Return how many cores this process may use: what `use_threads` said, or all that the system grants.

    A container with a quota of processor time has as many as that is worth, rounded up, however many it sees.
    """
    if "threads" in _limit:
        return _limit["threads"]
    quota = _granted_quota()
    return schedulable_cores() if quota is None else min(schedulable_cores(), quota)


def schedulable_cores() -> int:
    """Return how many cores this process may run on, whatever share of their time it gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _granted_quota() -> int | None:
    """The quota of processor time, read once."""
    return cpu_quota()


def use_threads(count: int) -> None:
    """Compute with so many threads from now on: torch, runtimes, decoding, and processes that are started.

    Args:
        count: at least 1.
    """
    _limit["threads"] = count
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))  # read by what is not loaded yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def this_machine(threads: int, gpu: str | None = None) -> Machine:
    """Return what this machine is, today.

    Args:
        threads: that are used.
        gpu: name of the GPU that is used; None for none.
    """
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=names[0] if names else platform.processor(),
        cores=len(names) or os.cpu_count(),
        threads=threads,
        python=platform.python_version(),
        date=datetime.now(UTC).date().isoformat(),
        gpu=gpu,
    )
