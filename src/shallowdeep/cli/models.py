"""``shallowdeep models``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from shallowdeep.cli.options import AsJson
from shallowdeep.cli.terminal import show


def models(*, as_json: AsJson = False) -> None:
    """Show the names that --model takes."""
    from shallowdeep.models.registry import describe_models
    from shallowdeep.report.tables import models_table

    rows = describe_models()
    show({"models": rows}, models_table(rows), as_json=as_json)
