"""``shallowdeep report``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import (
    AsJson,
    BatchSize,
    Data,
    Device,
    Resamples,
    Seed,
    SkipBadImages,
    Source,
    Split,
    Threads,
    Trust,
    Tune,
    context,
    writable_place,
)
from shallowdeep.cli.terminal import note_skipped, notes, show
from shallowdeep.progress import TerminalProgress


def report(
    source: Source,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable_place,
            help="The page, or a folder for it; figures go beside it, RUN stays as it is. (default: RUN/report.html, "
            "FILE.html)",
        ),
    ] = None,
    data: Data = None,
    split: Split = "test",
    tune: Tune = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    images: Annotated[int, typer.Option(min=0, help="Of each gallery; 0 for none.")] = 12,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Show how a network overthinks, on one page that needs no network."""
    from shallowdeep.artifacts import SKIPPED
    from shallowdeep.files import reading, require_writable
    from shallowdeep.runs.audit_files import read_audits
    from shallowdeep.runs.skipped_images import write_skipped
    from shallowdeep.workflows.analyze import How, analyze_any
    from shallowdeep.workflows.report import report_path, write_report

    how = How(split, resamples, seed)
    page = report_path(source, out)
    keep = page.resolve().is_relative_to(source.resolve())
    require_writable(page.parent)
    with TerminalProgress() as progress:
        run_as = context(
            progress,
            device=device,
            threads=threads,
            batch_size=batch_size,
            trust=trust,
            skip_bad_images=skip_bad_images,
        )
        with reading(source):
            analyzed, files = analyze_any(source, how, tune, data=data, keep=keep, context=run_as)
            with progress.start("drawing", "pages", 1):
                audits = None if analyzed.network is None else read_audits(source, analyzed.network.weights)
                files += write_report(analyzed, page, images, audits)
            folder = source if keep else page.parent
            files += write_skipped(folder, analyzed.skipped)
    skipped = analyzed.analysis.skipped_files
    document = {
        "source": str(source), "report": str(page), "files": [str(path) for path in files], "skipped_files": skipped,
    }  # fmt: skip
    show(document, f"Open {page} in a browser.", as_json=as_json)
    note_skipped(skipped, folder / SKIPPED)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
