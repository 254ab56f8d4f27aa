"""``shallowdeep report``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.analyze import typed
from shallowdeep.cli.terminal import TerminalObserver, notes, show


def report(
    source: Annotated[
        Path, typer.Argument(help="Directory of a run, or an npz file of predictions.", metavar="RUN|FILE.npz")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="The page; figures go beside it. (default: RUN/report.html, FILE.html)")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a run: test, tune or train.")] = "test",
    tune: Annotated[Path | None, typer.Option(help="Beside a file: another of labelled samples to fit on.")] = None,
    resamples: Annotated[int, typer.Option(help="For bootstrap intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    images: Annotated[int, typer.Option(min=0, help="Of each gallery; 0 for none.")] = 12,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 250,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    skip_bad_images: Annotated[
        bool, typer.Option("--skip-bad-images", help="Leave out what cannot be decoded.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run code that the manifest names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show how a network overthinks, on one page that needs no network."""
    from shallowdeep.experiment.analysing import How, analyse_any
    from shallowdeep.experiment.reporting import report_path, write_report

    how = How(split, resamples, seed, batch_size, device, skip_bad_images, trust, typed())
    page = report_path(source, out)
    with TerminalObserver() as observer:
        analysed, files = analyse_any(source, how, tune, observer=observer, data_progress=observer.data)
        observer.started("drawing", "pages", 1, 0)
        files += write_report(analysed, page, images)
        observer.advanced(1)
    document = {"source": str(source), "report": str(page), "files": [str(path) for path in files]}
    show(document, f"Open {page} in a browser.", as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
