"""``shallowdeep analyze``."""

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


def analyze(
    source: Source,
    *,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(callback=writable_place, help="Folder for analysis.json; RUN stays as it is. (default: RUN)"),
    ] = None,
    split: Split = "test",
    tune: Tune = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Tell how a network overthinks: wasteful and destructive, its confusion, and what indicates its errors."""
    from shallowdeep.artifacts import SKIPPED
    from shallowdeep.files import reading, require_writable
    from shallowdeep.report.analysis_tables import analysis_tables
    from shallowdeep.runs.skipped_images import write_skipped
    from shallowdeep.workflows.analyze import How, analyze_any, write_analysis

    how = How(split, resamples, seed)
    folder = out or (source if source.is_dir() else None)
    keep = folder is not None and folder.resolve().is_relative_to(source.resolve())
    if out is not None:
        require_writable(out)
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
            show(analyzed.analysis.document(), analysis_tables(analyzed.analysis), as_json=as_json)
            if folder is not None:  # last, so that a folder that cannot be written costs no answer
                files += [*write_skipped(folder, analyzed.skipped), write_analysis(folder, analyzed.analysis)]
    note_skipped(analyzed.analysis.skipped_files, (folder or source) / SKIPPED)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {source}", soft_wrap=True)
