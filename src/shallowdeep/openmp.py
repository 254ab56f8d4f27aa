"""How long OpenMP threads, which PyTorch computes with on a CPU, wait actively (no torch)."""

from __future__ import annotations

from collections.abc import Mapping

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how threads wait, of the standard, of GNU's runtime, and of LLVM's and Intel's."""

_SHORT = {"GOMP_SPINCOUNT": "10000"}  # turns of a loop; 300,000 unless said. Chosen by benchmarks/contention.py


def short_waits(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make threads sleep soon while they wait; none where one of `WAITING` is set.

    A thread that waits in a loop holds a core that others could use, the thread it waits for among them. They count
    for a process where they are set before torch is imported.

    Args:
        environment: variables that are set already.
    """
    return {} if any(name in environment for name in WAITING) else dict(_SHORT)
