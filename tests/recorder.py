"""A progress that remembers what it was told."""

from __future__ import annotations

from typing import Self


class RecordedBar:
    """One piece of work: what it was called, and every step."""

    def __init__(self, what: str, total: int | None, done: int) -> None:
        self.what, self.total, self.done, self.finished = what, total, done, False
        self.steps: list[int] = []

    def advance(self, count: int = 1, note: str = "") -> None:
        """Remember the step."""
        del note
        self.steps.append(count)
        self.done += count

    def finish(self) -> None:
        """Remember the end."""
        self.finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()


class Recorder:
    """All bars that were started, and all that was said."""

    def __init__(self) -> None:
        self.bars: list[RecordedBar] = []
        self.said: list[str] = []

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> RecordedBar:
        """Remember the bar."""
        self.bars.append(RecordedBar(f"{what} ({unit})", total, done))
        return self.bars[-1]

    def say(self, message: str) -> None:
        """Remember the message."""
        self.said.append(message)
