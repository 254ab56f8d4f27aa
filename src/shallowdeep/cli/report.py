"""``shallowdeep report``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    context,
)
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress


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
    from shallowdeep.workflows.analyze import How, analyze_any
    from shallowdeep.workflows.report import report_path, write_report

    how = How(split, resamples, seed)
    page = report_path(source, out)
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, batch_size=batch_size, trust=trust, skip_bad_images=skip_bad_images)
        analyzed, files = analyze_any(source, how, tune, context=run_as)
        with progress.start("drawing", "pages", 1):
            audits = None if analyzed.network is None else read_audits(source, analyzed.network.weights)
            files += write_report(analyzed, page, images, audits)
    document = {"source": str(source), "report": str(page), "files": [str(path) for path in files]}
    show(document, f"Open {page} in a browser.", as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
