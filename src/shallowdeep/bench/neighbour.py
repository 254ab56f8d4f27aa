"""A busy process beside what is timed (no torch)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from shallowdeep.errors import ShallowDeepError

_READY = "busy"
# A thread that reads standard input ends the process when its pipe closes, however this program ended.
_LOOP = f"""
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print({_READY!r}, flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def busy_neighbour() -> Iterator[subprocess.Popen[str]]:
    """Keep one core busy while the block runs: one single-threaded process that never rests, at our own priority.

    It is ended with the block, whatever ends that, and ends itself should this process be killed.

    Yields:
        The process, once it is busy.

    Raises:
        ShallowDeepError: it ended before the block did, so that what was timed had no neighbour.
    """
    handle = subprocess.Popen(  # noqa: S603 - Python, and the lines above
        [sys.executable, "-I", "-S", "-c", _LOOP],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        if handle.stdout is None or handle.stdout.readline().strip() != _READY:
            raise ShallowDeepError(f"Expected a busy process to start, got its end (status {handle.wait()})")
        yield handle
        if handle.poll() is not None:
            raise ShallowDeepError(
                f"Expected a process that stays busy while the others are timed, got its end (status "
                f"{handle.returncode})"
            )
    finally:
        with handle:
            handle.kill()
