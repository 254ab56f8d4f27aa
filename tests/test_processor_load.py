"""How busy other processes keep the cores, by hand-written statistics, and how many threads are fair."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shallowdeep.processor_load import Reading, busy_cores, fair_threads, reading, ticks_worked

STATISTICS = """cpu  999 999 999 999 999 999 999 0 0 0
cpu0 100 50 20 800 5 1 2 7 0 0
cpu1 10 0 5 900 0 0 0 0 0 0
cpu10 7 0 0 0 0 0 0 0 0 0
intr 12345
"""


def test_only_the_cores_of_the_process_count() -> None:
    """User, system and interrupts; neither work at low priority (50), nor idle time, nor what the host took (7)."""
    assert ticks_worked(STATISTICS, {"cpu0"}) == 100 + 20 + 1 + 2
    assert ticks_worked(STATISTICS, {"cpu0", "cpu1"}) == 123 + 15
    assert ticks_worked(STATISTICS, {"cpu10"}) == 7


def test_own_work_is_no_load() -> None:
    """In 2 s the cores worked 3.5 s, 1.5 s of it for this process: others keep one busy."""
    before, after = Reading(cores=100.0, own=4.0, clock=50.0), Reading(cores=103.5, own=5.5, clock=52.0)
    assert busy_cores(before, after) == pytest.approx(1.0)
    assert busy_cores(before, after._replace(own=9.0)) == 0  # ticks are coarse
    assert busy_cores(before, after._replace(clock=50.05)) == 0  # too short to tell


@pytest.mark.parametrize(
    ("cores", "busy", "threads"),
    [(2, 0.0, 2), (2, 0.4, 2), (2, 1.0, 1), (2, 2.0, 1), (1, 1.0, 1), (8, 0.9, 7), (8, 8.0, 4), (3, 2.6, 2)],
)
def test_one_thread_for_each_free_core_but_half_at_least(cores: int, busy: float, threads: int) -> None:
    """Half a core of load is none, and a machine that is full is shared."""
    assert fair_threads(cores, busy) == threads


def test_this_machine_is_read_where_it_tells() -> None:
    """Its clocks go forward; a system without the file tells nothing."""
    assert reading(Path("/nonexistent")) is None
    if not Path("/proc/stat").exists() or not hasattr(os, "sched_getaffinity"):
        pytest.skip("Expected the kernel's statistics, as Linux has them")
    first, second = reading(), reading()
    assert first is not None
    assert second is not None
    assert second.cores >= first.cores > 0
    assert second.clock >= first.clock
