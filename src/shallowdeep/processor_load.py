"""How many cores other processes keep busy, and how many threads are fair beside them (Linux, no torch)."""

from __future__ import annotations

import os
import time
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

SHORTEST = 0.1
"""Seconds over which a load can be told: the kernel counts in hundredths of a second."""

_STATISTICS = Path("/proc/stat")
_USER, _SYSTEM, _INTERRUPTS = 1, 3, (6, 7)  # fields of a line; work at low priority, which gives way, is another


class Reading(NamedTuple):
    """Seconds, counted from some time in the past.

    Attributes:
        cores: that cores have worked, but for work at low priority.
        own: that this process and its children have computed.
        clock: that have passed.
    """

    cores: float
    own: float
    clock: float


def reading(file: Path = _STATISTICS) -> Reading | None:
    """Return what has been computed so far on the cores that this process may use; None where it is not told.

    Args:
        file: the kernel's statistics.
    """
    try:
        text, ticks = file.read_text(), os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None
    worked = ticks_worked(text, {f"cpu{number}" for number in os.sched_getaffinity(0)})
    return Reading(worked / ticks, sum(os.times()[:4]), time.monotonic())


def ticks_worked(statistics: str, cores: Container[str]) -> int:
    """Return how many ticks some cores have worked, but for work at low priority.

    Args:
        statistics: lines such as ``cpu0 user nice system idle iowait irq softirq ...``.
        cores: names of those that count.
    """
    lines = [fields for line in statistics.splitlines() if (fields := line.split()) and fields[0] in cores]
    return sum(int(fields[place]) for fields in lines for place in (_USER, _SYSTEM, *_INTERRUPTS))


def busy_cores(before: Reading, after: Reading) -> float:
    """Return how many cores other processes kept busy between two readings; 0 where too little time has passed."""
    passed = after.clock - before.clock
    if passed < SHORTEST:
        return 0.0
    return max(0.0, (after.cores - before.cores - (after.own - before.own)) / passed)


def fair_threads(cores: int, busy: float) -> int:
    """Return how many threads compute beside others: one for each core that is free, but at least half of all.

    Threads meet at the end of every layer. Two of them on a core that a third process uses wait for each other at
    each, which takes longer than doing the work of both in one.

    Args:
        cores: that this process may use.
        busy: how many of them others use.
    """
    return max(cores - int(busy + 0.5), (cores + 1) // 2)
