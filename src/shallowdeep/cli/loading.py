"""Something to look at while PyTorch is imported, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from shallowdeep.progress import LOADING

SLOW = frozenset({"torch", "scipy", "matplotlib"})
"""Packages that are imported first by commands that take long to start; none is part of the base installation."""


class SlowImports:
    """A finder that finds nothing, and tells when the first slow package is imported."""

    def __init__(self) -> None:
        self._told = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, so that the next finder is asked."""
        if name in SLOW and not self._told:
            self._told = True
            if PathFinder.find_spec(name, path, target) is not None:  # else an error follows at once
                LOADING.show("Loading ...")
        return None


@contextmanager
def loading_shown() -> Iterator[None]:
    """Tell on standard error, while the block runs, that something slow is being imported."""
    finder = SlowImports()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        LOADING.clear()
