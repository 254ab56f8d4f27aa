"""``shallowdeep bench``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shallowdeep.cli.options import AsJson, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress


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
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each worker at each batch size.")] = 15,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each worker. (default: one a core)")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for bench.json and bench.png. (default: BUNDLE)")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the engine against the static network in the same runtime, in processes that take turns."""
    from shallowdeep.workflows.bench import bench_bundle

    sizes = _sizes(batch_sizes)
    with TerminalProgress() as progress:
        document, files = bench_bundle(
            bundle, data=data, batch_sizes=sizes, rounds=rounds, threads=threads or available_cores(),
            out=bundle if out is None else out, context=context(progress),
        )  # fmt: skip
    show(document, _readable(document), as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)


def _readable(document: dict[str, Any]) -> Any:  # noqa: ANN401 - a rich renderable
    from rich.console import Group

    from shallowdeep.report.tables import plain_table

    rows = []
    for batch in document["batches"]:
        speedup = batch["speedup"]
        rows.append(
            (
                batch["batch_size"],
                f"{batch['static_ms']:.2f}",
                f"{batch['engine_ms']:.2f}",
                f"{speedup['median']:.2f} [{speedup['low']:.2f}, {speedup['high']:.2f}]",
                f"{batch['ideal_speedup']:.2f}",
                f"{batch['ideal_speedup_macs']:.2f}",
                f"{batch['of_ideal']:.2f}",
                f"{100 * batch['overhead_share']:.1f}",
            )
        )
    columns = ["batch", "static ms", "engine ms", "speed-up [95 %]", "ideal", "by MACs", "of ideal", "overhead %"]
    machine = document["machine"]
    shares = document["batches"][0]["exit_shares"]
    taken = " ".join(f"{100 * share:.0f}" for share in shares)
    cost, ratio = document["batches"][0]["relative_cost"], document["peak_memory"]["ratio"]
    return Group(
        plain_table(f"{document['model']} on {document['data']}, {document['backend']}", columns, rows),
        f"Mean relative cost {cost:.3f}; % of images that leave at each exit: {taken}",
        f"Peak memory: {'not known' if ratio is None else f'{ratio:.2f}x the static run'}",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['date']}; "
        f"{document['images']:,} images, {document['rounds']} rounds",
    )
