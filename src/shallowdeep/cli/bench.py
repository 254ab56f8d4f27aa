"""``shallowdeep bench``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType

from shallowdeep.cli.options import AsJson, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.bench.comparison import Comparison


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"Expected batch sizes such as 1,8,64, got {text!r}")
    return sizes


def bench(
    bundle: Annotated[Path, typer.Argument(help="Directory that `export` wrote.")],
    *,
    data: Annotated[str | None, typer.Option(help="Images to time on. (default: the network's own test data)")] = None,
    batch_sizes: Annotated[str, typer.Option(help="Separated by commas.")] = "1,8,32,64,256",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each of the two is timed at each batch size.")] = 15,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each worker. (default: one a core)")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for bench.json and bench.png. (default: BUNDLE)")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the engine against the static network in the same runtime, in processes that take turns."""
    from shallowdeep.workflows.bench import bench_bundle

    sizes = _sizes(batch_sizes)
    with TerminalProgress() as progress:
        comparison, files = bench_bundle(
            bundle, data=data, batch_sizes=sizes, rounds=rounds, threads=threads or available_cores(),
            out=bundle if out is None else out, context=context(progress),
        )  # fmt: skip
    show(comparison, _readable(comparison), as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)


def _readable(comparison: Comparison) -> RenderableType:
    from shallowdeep.report.tables import plain_table

    rows = [
        (
            batch.batch_size,
            f"{batch.static_ms:.2f}",
            f"{batch.engine_ms:.2f}",
            f"{batch.speedup.median:.2f} [{batch.speedup.low:.2f}, {batch.speedup.high:.2f}]",
            f"{batch.ideal_speedup:.2f}",
            f"{batch.ideal_speedup_macs:.2f}",
            f"{batch.of_ideal:.2f}",
            f"{100 * batch.overhead_share:.1f}",
        )
        for batch in comparison.batches
    ]
    columns = ["batch", "static ms", "engine ms", "speed-up [95 %]", "ideal", "by MACs", "of ideal", "overhead %"]
    machine, first, ratio = comparison.machine, comparison.batches[0], comparison.peak_memory.ratio
    taken = " ".join(f"{100 * share:.0f}" for share in first.exit_shares)
    return Group(
        plain_table(f"{comparison.model} on {comparison.data}, {comparison.backend}", columns, rows),
        f"Mean relative cost {first.relative_cost:.3f}; % of images that leave at each exit: {taken}",
        f"Peak memory: {'not known' if ratio is None else f'{ratio:.2f}x the static run'}",
        f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads, {machine.date}; "
        f"{comparison.images:,} images, {comparison.rounds} rounds",
    )
