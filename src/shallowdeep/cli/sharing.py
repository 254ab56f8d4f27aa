"""How the command line shares the processor with other work: fewer threads beside others.

Shorter waits of OpenMP threads (``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY``) are not set: those that cost nothing alone do
not help beside others, and with those that help all takes 1.1 to 2 times as long alone (benchmarks/contention.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from shallowdeep.machine import THREAD_VARIABLES, available_cores, schedulable_cores
from shallowdeep.processor_load import Reading, busy_cores, fair_threads, reading
from shallowdeep.progress import LOADING, first_process

_THREADS = "--threads"
_LOADED = "torch"


class TorchThreads:
    """A finder that finds nothing, and chooses torch's number of threads when that is about to be imported.

    By then the program has been loading long enough to tell how busy the machine is, and only commands that compute
    with torch come here.

    Args:
        begun: what the cores had done when the program started; None where that is not told.
        environment: gets the number of threads, which torch reads when it is loaded.
    """

    def __init__(self, begun: Reading | None, environment: MutableMapping[str, str]) -> None:
        self._begun, self._environment, self._done = begun, environment, False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, so that the next finder is asked."""
        if name == _LOADED and not self._done:
            self._done = True
            if PathFinder.find_spec(name, path, target) is not None:
                self._choose()
        return None

    def _choose(self) -> None:
        cores, now = available_cores(), reading()
        busy = 0.0 if self._begun is None or now is None else busy_cores(self._begun, now)
        threads = fair_threads(cores, busy)
        if threads == schedulable_cores():
            return  # what torch takes anyway
        self._environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        if threads < cores and first_process():
            LOADING.clear()
            sys.stderr.write(
                f"Other programs keep {busy:.1f} of {cores} cores busy: PyTorch computes with {threads} "
                f"thread{'s' if threads > 1 else ''} ({_THREADS} {cores} takes all)\n"
            )
            LOADING.show("Loading ...")


@contextmanager
def processor_shared(arguments: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Let torch, where it is loaded in the block, compute with as many threads as are fair.

    A number of threads that the user has set stands, in the environment or by ``--threads``. So does what processes
    that share one training were started with.

    Args:
        arguments: of the command line.
        environment: variables, which are changed.
    """
    chosen = any(name in environment for name in THREAD_VARIABLES) or any(
        argument.split("=")[0] == _THREADS for argument in arguments
    )
    if chosen or environment.get("WORLD_SIZE", "1") != "1":
        yield
        return
    finder = TorchThreads(reading(), environment)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
