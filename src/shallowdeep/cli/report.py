"""``shallowdeep report``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.analyze import typed
from shallowdeep.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Resamples,
    Seed,
    SkipBadImages,
    Source,
    Split,
    Trust,
    Tune,
)
from shallowdeep.cli.terminal import TerminalObserver, notes, show


def report(
    source: Source,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="The page, or a folder for it; figures go beside it. (default: RUN/report.html, FILE.html)"),
    ] = None,
    split: Split = "test",
    tune: Tune = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    images: Annotated[int, typer.Option(min=0, help="Of each gallery; 0 for none.")] = 12,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Show how a network overthinks, on one page that needs no network."""
    from shallowdeep.runs.audit_files import read_audits
    from shallowdeep.workflows.analyze import How, analyse_any
    from shallowdeep.workflows.report import report_path, write_report

    how = How(split, resamples, seed, batch_size, device, skip_bad_images, trust, typed())
    page = report_path(source, out)
    with TerminalObserver() as observer:
        analysed, files = analyse_any(source, how, tune, observer=observer, data_progress=observer.data)
        observer.started("drawing", "pages", 1, 0)
        audits = {} if analysed.network is None else read_audits(source, analysed.network.weights)
        files += write_report(analysed, page, images, audits)
        observer.advanced(1)
    document = {"source": str(source), "report": str(page), "files": [str(path) for path in files]}
    show(document, f"Open {page} in a browser.", as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
