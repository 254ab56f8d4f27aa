"""``shallowdeep analyze``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import sys

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
    from shallowdeep.workflows.analyze import How, analyse_any, write_analysis

    how = How(split, resamples, seed, batch_size, device, skip_bad_images, trust, typed())
    with TerminalObserver() as observer:
        analysed, files = analyse_any(source, how, tune, observer=observer, data_progress=observer.data)
    show(analysed.document, analysis_tables(analysed.document), as_json=as_json)
    if source.is_dir():  # last, so that a folder that cannot be written costs no answer
        files.append(write_analysis(source, analysed.document))
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {source}", soft_wrap=True)


def typed() -> str:
    """The command line as it was typed, for the provenance of what it makes."""
    return " ".join(["shallowdeep", *sys.argv[1:]])
