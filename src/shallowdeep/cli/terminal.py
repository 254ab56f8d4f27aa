"""What the command line shows: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from shallowdeep.documents import plain
from shallowdeep.progress import LOADING, PLAIN, first_process

PLAIN_WIDTH = 100  # of tables that go to a file or a pipe
NAMES_SHOWN = 10  # of images that were left out


def notes() -> Console:
    """A console on standard error."""
    LOADING.clear()
    return Console(stderr=True, **PLAIN)


def show(result: object, renderable: RenderableType, *, as_json: bool) -> None:
    """Print a result: one JSON document, or tables for people."""
    if not first_process():
        return
    LOADING.clear()
    if as_json:
        sys.stdout.write(json.dumps(plain(result), indent=2, allow_nan=False) + "\n")
    else:
        console = Console(**PLAIN) if sys.stdout.isatty() else Console(**PLAIN, width=PLAIN_WIDTH)
        console.print(renderable)
    sys.stdout.flush()  # a reader that has gone is noticed here, not when Python shuts down


def note_skipped(names: Sequence[str], file: Path, count: int | None = None) -> None:
    """Tell on standard error which images were left out, since they could not be decoded: the first ten by name.

    Args:
        names: all of them.
        file: where they stand, if it is there.
        count: how many there were, where that is known without the names.
    """
    known = max(count or 0, len(names))
    if not known:
        return
    notes().print(f"Bad images left out: {known:,}")
    for name in names[:NAMES_SHOWN]:
        notes().print(Text(f"  {name}"), soft_wrap=True)
    if len(names) > NAMES_SHOWN:
        where = f"{file} names all" if file.exists() else "--json names all"
        notes().print(f"  and {len(names) - NAMES_SHOWN:,} more; {where}", soft_wrap=True)


def show_audit(findings: object, renderable: RenderableType, files: list[Path], *, as_json: bool) -> None:
    """Print an audit's findings, where they were written, and how to look at them."""
    show(findings, renderable, as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {files[-1].parent}", soft_wrap=True)
