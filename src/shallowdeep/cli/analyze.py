"""``shallowdeep analyze``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

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


def analyze(
    source: Source,
    *,
    split: Split = "test",
    tune: Tune = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Tell how a network overthinks: wasteful and destructive, its confusion, and what indicates its errors."""
    from shallowdeep.report.analysis_tables import analysis_tables
    from shallowdeep.workflows.analyze import How, analyze_any, write_analysis

    how = How(split, resamples, seed)
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, batch_size=batch_size, trust=trust, skip_bad_images=skip_bad_images)
        analyzed, files = analyze_any(source, how, tune, context=run_as)
    show(analyzed.analysis.document(), analysis_tables(analyzed.analysis), as_json=as_json)
    if source.is_dir():  # last, so that a folder that cannot be written costs no answer
        files.append(write_analysis(source, analyzed.analysis))
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {source}", soft_wrap=True)
