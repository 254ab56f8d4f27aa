"""The page of results/security: what was found, then each audit's tables as the terminal shows them.

    python benchmarks/security_page.py results/security

Reads `notes.md` and every `*.json` that `benchmarks/security.sh` left there, and writes `README.md`.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from shallowdeep.report.audit_tables import backdoor_tables, slowdown_tables
from shallowdeep.runs.audit_files import audits_from

WIDTH = 110  # characters


def shown(file: Path) -> str:
    """An audit as plain text."""
    document = json.loads(file.read_text())
    audits = audits_from({document["audit"]: document}, str(file))
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    if audits.backdoor is not None:
        console.print(backdoor_tables(audits.backdoor))
    if audits.slowdown is not None:
        console.print(slowdown_tables(audits.slowdown))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return "\n".join(line.rstrip() for line in text.splitlines())


def page(folder: Path) -> str:
    """The whole page in Markdown."""
    parts = [(folder / "notes.md").read_text().rstrip()]
    for file in sorted(folder.glob("*.json")):
        parts.append(f"## {file.stem}\n\nAll figures: [{file.name}]({file.name}).\n\n```text")
        parts[-1] += f"\n{shown(file)}\n```"
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    (directory / "README.md").write_text(page(directory))
