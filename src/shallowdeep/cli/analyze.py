"""``shallowdeep analyze``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.terminal import TerminalObserver, notes, show


def analyze(
    source: Annotated[
        Path, typer.Argument(help="Directory of a run, or an npz file of predictions.", metavar="RUN|FILE.npz")
    ],
    *,
    split: Annotated[str, typer.Option(help="Of a run: test, tune or train.")] = "test",
    tune: Annotated[Path | None, typer.Option(help="Beside a file: another of labelled samples to fit on.")] = None,
    resamples: Annotated[int, typer.Option(help="For bootstrap intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 250,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    skip_bad_images: Annotated[
        bool, typer.Option("--skip-bad-images", help="Leave out what cannot be decoded.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run code that the manifest names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Tell how a network overthinks: wasteful and destructive, its confusion, and what indicates its errors."""
    from shallowdeep.experiment.analysing import How, analyse_any
    from shallowdeep.report.analysis_tables import analysis_tables

    how = How(split, resamples, seed, batch_size, device, skip_bad_images, trust, typed())
    with TerminalObserver() as observer:
        analysed, files = analyse_any(source, how, tune, observer=observer, data_progress=observer.data)
    show(analysed.document, analysis_tables(analysed.document), as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {source}", soft_wrap=True)


def typed() -> str:
    """The command line as it was typed, for the provenance of what it makes."""
    return " ".join(["shallowdeep", *sys.argv[1:]])
