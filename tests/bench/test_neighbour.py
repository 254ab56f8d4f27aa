"""The busy process is there while something is timed, and gone afterwards however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shallowdeep.bench.neighbour import busy_neighbour
from shallowdeep.errors import ShallowDeepError

SECONDS = 30.0  # to wait for what takes milliseconds


def test_it_runs_during_the_block_alone() -> None:
    """It computes, in a process of its own."""
    with busy_neighbour() as neighbour:
        assert neighbour.poll() is None
        assert neighbour.pid != os.getpid()
    assert neighbour.poll() is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt, ShallowDeepError, SystemExit])
def test_it_ends_when_the_block_is_left_by_an_error(error: type[BaseException]) -> None:
    """Ctrl-C among them."""
    started = []

    def interrupted() -> None:
        with busy_neighbour() as neighbour:
            started.append(neighbour)
            raise error

    with pytest.raises(error):
        interrupted()
    assert started[0].poll() is not None


def test_one_that_died_is_told() -> None:
    """What was timed then had no neighbour for a while."""

    def killed() -> None:
        with busy_neighbour() as neighbour:
            neighbour.kill()
            neighbour.wait()

    with pytest.raises(ShallowDeepError, match="Expected a process that stays busy"):
        killed()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks a process up in /proc")
def test_it_ends_with_a_program_that_is_killed() -> None:
    """Which cannot end it."""
    program = (
        "import time\nfrom shallowdeep.bench.neighbour import busy_neighbour\n"
        "with busy_neighbour() as neighbour:\n    print(neighbour.pid, flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        number = int(bench.stdout.readline())
        assert running(number)
        bench.send_signal(signal.SIGKILL)
    end = time.monotonic() + SECONDS
    while running(number) and time.monotonic() < end:
        time.sleep(0.01)
    assert not running(number)


def running(number: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
