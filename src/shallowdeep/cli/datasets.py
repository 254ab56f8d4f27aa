"""``shallowdeep datasets``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from shallowdeep.cli.options import AsJson
from shallowdeep.cli.terminal import show


def datasets(*, as_json: AsJson = False) -> None:
    """Show the names that --data takes."""
    from rich.console import Group

    from shallowdeep.data.sources.registry import describe_datasets
    from shallowdeep.report.tables import datasets_table

    rows = [row._asdict() for row in describe_datasets()]
    readable = [
        {
            "name": row["name"],
            "what it is": row["what"],
            "from": row["origin"],
            "offline": "yes" if row["offline"] else "no",
        }
        for row in rows
    ]
    hint = (
        "Besides: a folder of Parquet files (train-*.parquet, test-*.parquet), "
        "or an image folder (train/CLASS/*, test/CLASS/*)."
    )
    show({"datasets": rows}, Group(datasets_table(readable), hint), as_json=as_json)
