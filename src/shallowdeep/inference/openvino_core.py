"""OpenVINO, imported here alone; its one core of a process, and signals beside others (no torch).

Each core sets an alternate stack for signals on the thread that first uses its CPU (openvino pull request 11894, for
AMX). When cores end in another order than the reverse of their making, the stack in force is one that was freed, and
the next signal with a handler in Python, such as Ctrl-C, ends the process (seen with OpenVINO 2026.4). So there is one
core, and it does not end.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from shallowdeep.inference.telemetry import without_telemetry

with without_telemetry():
    import openvino

__all__ = ["beside_other_cores", "core", "openvino"]


@cache
def core() -> Any:  # noqa: ANN401 - openvino.Core, which has no types
    """Return the core, its CPU loaded."""
    found = openvino.Core()
    found.get_property("CPU", "FULL_DEVICE_NAME")
    return found


@contextmanager
def beside_other_cores() -> Iterator[None]:
    """Put the thread's stack for signals back in force after a block in which others make cores."""
    core()  # so that what is in force is its own
    if sys.platform != "linux":  # nowhere else do cores set one
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


class _SignalStack(ctypes.Structure):
    """``stack_t`` of the C library."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))
