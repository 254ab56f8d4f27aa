"""Processes that are timed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from shallowdeep.bench.workers import closing, start
from shallowdeep.errors import ShallowDeepError

FORKING = """
import json, os, pathlib, sys, time
child = os.fork()
if child == 0:
    time.sleep(20)
    pathlib.Path(sys.argv[1]).touch()
    os._exit(0)
print(json.dumps("ready"), flush=True)
input()
print(child, flush=True)
time.sleep(20)
"""


def test_the_end_of_a_worker_does_not_wait_for_a_child_of_it(tmp_path: Path) -> None:
    """The child holds the pipes open."""
    ended = tmp_path / "ended"
    with closing([start("", ["-c", FORKING, str(ended)], 1)]) as (process,):
        child = process.order("child")
    assert not ended.exists()
    os.kill(child, signal.SIGKILL)
    assert process.handle.returncode == -signal.SIGKILL


def test_a_worker_that_died_is_told() -> None:
    """Also where an order could not be written to it any more."""
    program = "import json; print(json.dumps(True), flush=True); input()"
    with pytest.raises(ShallowDeepError, match=r"got its end \(status -9\)"):
        order_of_a_dead_worker(program)


def test_a_worker_may_write_many_messages() -> None:
    """Nobody reads them while it works; the last one is told if it dies."""
    program = "import json, sys; sys.stderr.write('warning\\n' * 50_000); print(json.dumps(True), flush=True); input()"
    with closing([start("", ["-c", program], 1)]) as (process,):
        process.handle.kill()
        with pytest.raises(ShallowDeepError, match=r"got its end .*: warning"):
            process.order("time")


def order_of_a_dead_worker(program: str) -> None:
    """Give an order to a worker that was killed."""
    with closing([start("", ["-c", program], 1)]) as (process,):
        process.handle.kill()
        process.handle.wait()
        process.order("time")
