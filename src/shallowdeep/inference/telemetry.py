"""Imports of OpenVINO and NNCF without the usage data that they send (no torch).

Their package `openvino_telemetry` sends from a process that it forks beside running threads. That copy can wait for
ever for a lock held at the fork (seen with OpenVINO 2026.4), and holds open the pipes of the process that it copied.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGE = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Let imports in a block find no package that sends usage data; one that is imported already stays."""
    if _PACKAGE in sys.modules:
        yield
        return
    sys.modules[_PACKAGE] = None  # type: ignore[assignment]  # how Python marks a module that is not to be found
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]
