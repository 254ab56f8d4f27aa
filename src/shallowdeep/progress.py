"""Progress of long work: one protocol for everything that takes time, bars on a terminal, or silence.

with progress.start("predicting test", "images", total=10_000) as bar:
bar.advance(250)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 60.0  # of progress, where no bar can be drawn
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Of consoles: text is shown as it is, file names with brackets or colons too."""

_ERASE_LINE = "\r\x1b[2K"


class Bar(Protocol):
    """One piece of work under way; a context manager that finishes it."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """``count`` more units are done."""

    def finish(self) -> None:
        """The work is over, done or not."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Progress(Protocol):
    """Told what is done; implementations draw it or stay silent."""

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> Bar:
        """Work begins: ``total`` units in all (None where that is not known), ``done`` of them by an earlier run."""

    def say(self, message: str) -> None:
        """Tell something worth knowing."""


class SilentBar:
    """Shows nothing."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Silent:
    """Shows nothing, says nothing."""

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> Bar:
        """A bar that is not drawn."""
        del what, unit, total, done
        return SilentBar()

    def say(self, message: str) -> None:
        """Ignore."""


SILENT = Silent()
_MINUTE = 60


def first_process() -> bool:
    """Whether this process speaks: the only one, or the first of those that ``accelerate launch`` starts."""
    return os.environ.get("RANK", "0") == "0"


class TransientNote:
    """A line on standard error that stands until something else is said; where that is no terminal it stays."""

    def __init__(self) -> None:
        self._stands = False

    def show(self, text: str) -> None:
        """Write the line."""
        if not first_process():
            return
        self._stands = sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
        sys.stderr.write(text if self._stands else f"{text}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line if it stands on a terminal; what comes next is written in its place."""
        if self._stands:
            self._stands = False
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()


LOADING = TransientNote()
"""Says that a command is being loaded, until the first progress, message or result."""


class TerminalProgress:
    """Bars with the time left on standard error; a context manager.

    Where standard error is no terminal, a line a minute tells how far the work is instead.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - drawing takes time to import, and few need it
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Drawing  # noqa: PLC0415

        self.console: Console = Console(stderr=True, **PLAIN)
        self._visible = first_process()
        self._entered = False
        self._spoke = time.monotonic()
        self._drawing = Drawing(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            transient=True,
            disable=not (self._visible and self.console.is_terminal),
        )

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self._entered = False
        if self._drawing.live.is_started:
            self._drawing.stop()

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> Bar:
        """Draw a bar until it is finished."""
        if self._entered and not self._drawing.live.is_started:  # until then it is told that the command is loaded
            LOADING.clear()
            self._drawing.start()
        task = self._drawing.add_task(f"{what} ({unit})", total=total, completed=done, note="")
        return _DrawnBar(self, task)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        if self._visible:
            LOADING.clear()
            self.console.print(message, soft_wrap=True)

    def update(self, task: TaskID, count: int, note: str) -> None:
        """Move a bar, or print a line where a minute has passed without one."""
        self._drawing.update(task, advance=count, note=note)
        now = time.monotonic()
        if self.console.is_terminal or now - self._spoke < SECONDS_BETWEEN_LINES:
            return
        self._spoke = now
        shown = next(entry for entry in self._drawing.tasks if entry.id == task)
        if shown.finished:
            return
        left = "" if shown.time_remaining is None else f", {_left(shown.time_remaining)} left"
        note = f", {shown.fields['note']}" if shown.fields["note"] else ""
        total = "" if shown.total is None else f" of {shown.total:,.0f} ({shown.percentage:.0f} %)"
        self.say(f"{shown.description}: {shown.completed:,.0f}{total}{note}{left}")

    def remove(self, task: TaskID) -> None:
        """Take a bar away."""
        if task in self._drawing.task_ids:
            self._drawing.remove_task(task)


def _left(seconds: float) -> str:
    """The time left in words."""
    return "under a minute" if seconds < _MINUTE else f"about {seconds / _MINUTE:.0f} min"


class _DrawnBar:
    """A bar of a `TerminalProgress`."""

    def __init__(self, owner: TerminalProgress, task: TaskID) -> None:
        self._owner, self._task = owner, task

    def advance(self, count: int = 1, note: str = "") -> None:
        """Move the bar."""
        self._owner.update(self._task, count, note)

    def finish(self) -> None:
        """Take the bar away."""
        self._owner.remove(self._task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()


@contextmanager
def shown(progress: bool | Progress) -> Iterator[Progress]:
    """The progress to report to: bars on the terminal for True, none for False, or one of the caller's own."""
    if progress is True:
        with TerminalProgress() as bars:
            yield bars
    else:
        yield SILENT if progress is False else progress


def total_of(batches: Any) -> int | None:  # noqa: ANN401 - any iterable
    """How many batches there are, where that can be known beforehand."""
    try:
        return len(batches)
    except TypeError:
        return None
