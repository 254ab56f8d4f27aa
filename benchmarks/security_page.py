"""The page of results/security: what was found, then each audit's tables as the terminal shows them.

    python benchmarks/security_page.py results/security

Reads `notes.md` and every `*.json` that `benchmarks/security.sh` left there, and writes `README.md`.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from shallowdeep.report.audit_tables import backdoor_tables, slowdown_tables

WIDTH = 110  # characters


def shown(document: dict[str, Any]) -> str:
    """An audit's document as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(slowdown_tables(document) if "policies" in document else backdoor_tables(document))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return "\n".join(line.rstrip() for line in text.splitlines())


def page(folder: Path) -> str:
    """The whole page in Markdown."""
    parts = [(folder / "notes.md").read_text().rstrip()]
    for file in sorted(folder.glob("*.json")):
        parts.append(f"## {file.stem}\n\nAll figures: [{file.name}]({file.name}).\n\n```text")
        parts[-1] += f"\n{shown(json.loads(file.read_text()))}\n```"
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    (directory / "README.md").write_text(page(directory))
