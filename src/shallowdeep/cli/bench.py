"""``shallowdeep bench``."""

# ruff: noqa: PLC0415 - NumPy and torch are imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import AsJson, batch_sizes_in, context, writable_place
from shallowdeep.cli.terminal import notes, show
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress


def bench(
    bundle: Annotated[Path, typer.Argument(help="Directory that `export` wrote.")],
    *,
    data: Annotated[
        str | None, typer.Option(help="Labelled images to time on. (default: the network's own test data)")
    ] = None,
    batch_sizes: Annotated[str, typer.Option(help="Separated by commas.")] = "1,8,32,64,256",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each of the two is timed at each batch size.")] = 15,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each worker. (default: one a core)")] = None,
    neighbour: Annotated[
        bool, typer.Option("--neighbour", help="Time both beside a busy single-threaded process too; takes longer.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(callback=writable_place, help="Directory for bench.json and bench.png. (default: BUNDLE)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the engine against the static network in the same runtime, and tell the accuracy that the speed costs."""
    from shallowdeep.report.bench_tables import bench_tables
    from shallowdeep.workflows.bench import bench_bundle

    sizes = batch_sizes_in(batch_sizes)
    with TerminalProgress() as progress:
        comparison, files = bench_bundle(
            bundle, data=data, batch_sizes=sizes, rounds=rounds, threads=threads or available_cores(),
            neighbour=neighbour, out=bundle if out is None else out, context=context(progress, threads=threads),
        )  # fmt: skip
    show(comparison, bench_tables(comparison), as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
