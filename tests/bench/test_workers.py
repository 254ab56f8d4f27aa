"""Processes that are timed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from shallowdeep.bench.workers import closing, start

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
