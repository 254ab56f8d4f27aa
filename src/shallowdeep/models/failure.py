"""How a failure in code that is not ours is told."""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """Returns an exception's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
