"""Options that several subcommands share, with their help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.context import RunContext
from shallowdeep.progress import Progress


def above_zero(value: float | None) -> float | None:
    """Refuse numbers that are not positive, as a typer callback."""
    if value is not None and not value > 0:
        raise typer.BadParameter(f"Expected a number above 0, got {value}")
    return value


def context(
    progress: Progress,
    *,
    device: str = "auto",
    batch_size: int = 250,
    trust: bool = False,
    skip_bad_images: bool = False,
) -> RunContext:
    """Return how a command runs, by the options that commands share."""
    return RunContext(device, batch_size, trust, skip_bad_images, progress, typed())


def typed() -> str:
    """The command line as it was typed, for the provenance of what it makes."""
    return " ".join(["shallowdeep", *sys.argv[1:]])


BatchSize = Annotated[int, typer.Option(help="Images at a time.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda ...")]
SkipBadImages = Annotated[bool, typer.Option("--skip-bad-images", help="Leave out what cannot be decoded.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run code that the manifest names.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quick = Annotated[bool, typer.Option("--quick", help="On 5,000 bundled digits, from training to findings.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the runs in --out.")]
Source = Annotated[
    Path, typer.Argument(help="Directory of a run, or an npz file of predictions.", metavar="RUN|FILE.npz")
]
Split = Annotated[str, typer.Option(help="Of a run: test, tune or train.")]
Tune = Annotated[Path | None, typer.Option(help="With FILE.npz: another such file, of labelled samples to fit on.")]
Resamples = Annotated[int, typer.Option(help="For bootstrap intervals; 0 for none.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the resampling.")]
