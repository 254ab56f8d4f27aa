"""What a training tells whoever watches it."""

from __future__ import annotations

from typing import Any, Protocol


class Observer(Protocol):
    """Watches a training; implementations draw progress bars or stay silent."""

    def started(self, phase: str, unit: str, total: int, done: int) -> None:
        """A phase begins: ``total`` steps or images in all, ``done`` of them by an earlier run."""

    def advanced(self, count: int, note: str = "") -> None:
        """``count`` more steps or images are done."""

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """An epoch is over and saved; ``record`` is its line of the history."""

    def said(self, message: str) -> None:
        """Something worth knowing."""


class SilentObserver:
    """Says nothing."""

    def started(self, phase: str, unit: str, total: int, done: int) -> None:
        """Ignore."""

    def advanced(self, count: int, note: str = "") -> None:
        """Ignore."""

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """Ignore."""

    def said(self, message: str) -> None:
        """Ignore."""
