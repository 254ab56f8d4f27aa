"""What the command line shows: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_WIDTH = 100  # of tables that go to a file or a pipe


def notes() -> Console:
    """A console on standard error."""
    return Console(stderr=True, highlight=False)


def show(document: dict[str, Any], renderable: RenderableType, *, as_json: bool) -> None:
    """Print a result: one JSON document, or tables for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        return
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PLAIN_WIDTH)
    console.print(renderable)


class TerminalObserver:
    """Draws a training: a bar with the time left, and a line for each epoch.

    Where standard error is no terminal, only the lines are printed.
    """

    def __init__(self, *, visible: bool = True) -> None:
        self.console = notes()
        self.visible = visible
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not (visible and self.console.is_terminal),
        )

    def __enter__(self) -> TerminalObserver:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, phase: str, unit: str, total: int, done: int) -> None:
        """Begin a new bar."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(f"{phase} ({unit})", total=total, completed=done, note="")

    def advanced(self, count: int, note: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, advance=count, note=note)

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """Print the epoch's line."""
        accuracies = " ".join(f"{100 * value:.1f}" for value in record["tune_accuracy"])
        self.said(
            f"{record['phase']} epoch {record['epoch']}: loss {record['loss']:.4f}, tune accuracy % {accuracies} "
            f"({record['seconds']:.0f} s)"
        )

    def said(self, message: str) -> None:
        """Print a note."""
        if self.visible:
            self.console.print(message, soft_wrap=True)

    def data(self, what: str, done: int, total: int) -> None:
        """Progress of reading data: a bar of its own for each ``what``."""
        if done == 0 or self._task is None or not self._progress.tasks[-1].description.startswith(what):
            self.started(what, "images", total, done)
        elif self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

