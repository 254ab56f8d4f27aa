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

    rows = describe_datasets()
    hint = (
        "Besides: a folder of Parquet files (train-*.parquet, test-*.parquet), "
        "or an image folder (train/CLASS/*, test/CLASS/*)."
    )
    show({"datasets": rows}, Group(datasets_table(rows), hint), as_json=as_json)
