"""The machine a program runs on: what figures were measured with (no torch)."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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
    """Return how many cores this process may use: what `use_threads` said, or all that the system grants."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _limit.get("threads", granted)


def use_threads(count: int) -> None:
    """Compute with so many threads from now on: torch, runtimes, decoding, and processes that are started.

    Args:
        count: at least 1.
    """
    _limit["threads"] = count
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))  # read by what is not loaded yet
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
