"""What the command line shows: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_WIDTH = 100  # of tables that go to a file or a pipe
SECONDS_BETWEEN_LINES = 60.0  # of progress, where no bar can be drawn


def first_process() -> bool:
    """Whether this process speaks: the only one, or the first of those that ``accelerate launch`` starts."""
    return os.environ.get("RANK", "0") == "0"


def notes() -> Console:
    """A console on standard error."""
    return Console(stderr=True, highlight=False)


def show(document: dict[str, Any], renderable: RenderableType, *, as_json: bool) -> None:
    """Print a result: one JSON document, or tables for people."""
    if not first_process():
        return
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PLAIN_WIDTH)
        console.print(renderable)
    sys.stdout.flush()  # a reader that has gone is noticed here, not when Python shuts down


class TerminalObserver:
    """Draws a training: a bar with the time left, and a line for each epoch.

    Where standard error is no terminal, a line a minute tells how far it is instead of the bar.
    """

    def __init__(self) -> None:
        self.console = notes()
        self._visible = first_process()
        self._task: TaskID | None = None
        self._reading: tuple[str, TaskID] | None = None
        self._spoke = time.monotonic()
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
            disable=not (self._visible and self.console.is_terminal),
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
            self._say_how_far(self._task)

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """Print the epoch's line."""
        accuracies = " ".join(f"{100 * value:.1f}" for value in record["tune_accuracy"])
        self.said(
            f"{record['phase']} epoch {record['epoch']}: loss {record['loss']:.4f}, tune accuracy % {accuracies} "
            f"({record['seconds']:.0f} s)"
        )

    def said(self, message: str) -> None:
        """Print a note."""
        if self._visible:
            self.console.print(message, soft_wrap=True)

    def data(self, what: str, done: int, total: int) -> None:
        """Progress of reading data: a bar of its own beside the training's, which goes when all is read."""
        if self._reading is not None and self._reading[0] != what:
            self._progress.remove_task(self._reading[1])
            self._reading = None
        if self._reading is None:
            self._reading = what, self._progress.add_task(f"reading {what} (images)", total=total, note="")
        task = self._reading[1]
        self._progress.update(task, completed=done, total=total)
        self._say_how_far(task)
        if done >= total:
            self._progress.remove_task(task)
            self._reading = None

    def _say_how_far(self, task: TaskID) -> None:
        """Print a line for a task now and then, where no bar is drawn."""
        now = time.monotonic()
        if self.console.is_terminal or now - self._spoke < SECONDS_BETWEEN_LINES:
            return
        self._spoke = now
        shown = next(entry for entry in self._progress.tasks if entry.id == task)
        if shown.finished:
            return
        left = "" if shown.time_remaining is None else f", about {shown.time_remaining / 60:.0f} min left"
        note = f", {shown.fields['note']}" if shown.fields["note"] else ""
        self.said(f"{shown.description}: {shown.completed:,.0f} of {shown.total or 0:,.0f}{note}{left}")
