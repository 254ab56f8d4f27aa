"""What the command line shows: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console, RenderableType

from shallowdeep.documents import plain
from shallowdeep.progress import first_process

PLAIN_WIDTH = 100  # of tables that go to a file or a pipe


def notes() -> Console:
    """A console on standard error."""
    return Console(stderr=True, highlight=False)


def show(result: object, renderable: RenderableType, *, as_json: bool) -> None:
    """Print a result: one JSON document, or tables for people."""
    if not first_process():
        return
    if as_json:
        sys.stdout.write(json.dumps(plain(result), indent=2, allow_nan=False) + "\n")
    else:
        console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PLAIN_WIDTH)
        console.print(renderable)
    sys.stdout.flush()  # a reader that has gone is noticed here, not when Python shuts down


def show_audit(findings: object, renderable: RenderableType, files: list[Path], *, as_json: bool) -> None:
    """Print an audit's findings, where they were written, and how to look at them."""
    show(findings, renderable, as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {files[-1].parent}", soft_wrap=True)
