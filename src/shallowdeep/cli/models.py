"""``shallowdeep models``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from dataclasses import asdict

from shallowdeep.cli.options import AsJson
from shallowdeep.cli.terminal import show


def models(*, as_json: AsJson = False) -> None:
    """Show the names that --model takes."""
    from shallowdeep.models.registry import describe_models
    from shallowdeep.report.tables import models_table

    rows = [asdict(row) for row in describe_models()]
    readable = [
        {
            "name": row["name"],
            "what it is": row["description"],
            "parameters": None if row["parameters"] is None else f"{row['parameters']:,}",
            "image sizes": ", ".join(str(size) for size in row["image_sizes"]) or None,
        }
        for row in rows
    ]
    show({"models": rows}, models_table(readable), as_json=as_json)
