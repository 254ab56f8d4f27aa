"""``shallowdeep evaluate``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import AsJson, BatchSize, Device, SkipBadImages, Trust, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress

LOSS, CONFIDENCE = 0.01, 0.95
"""Of the promise that is suggested, where there are images enough for it."""


def evaluate(
    run: Annotated[Path, typer.Argument(help="Directory of a run.")],
    *,
    data: Annotated[
        str | None, typer.Option(help="Other data with the same classes, evaluated whole. (default: the run's)")
    ] = None,
    split: Annotated[str, typer.Option(help="test, tune or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Where files go. (default: RUN; with --data nowhere)")] = None,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a network exit by exit: accuracy, cost, and what early exits give."""
    from shallowdeep.calibration.risk import ACCURACY_GAP, samples_needed
    from shallowdeep.report.tables import evaluation_tables
    from shallowdeep.workflows.evaluate import evaluate_run

    with TerminalProgress() as progress:
        run_as = context(progress, device=device, batch_size=batch_size, trust=trust, skip_bad_images=skip_bad_images)
        found, files = evaluate_run(run, data=data, split=split, out=out, context=run_as)
    show(found, evaluation_tables(found), as_json=as_json)
    if found.warning:
        notes().print(found.warning, soft_wrap=True)
    if found.skipped_images:
        notes().print(f"Bad images left out: {found.skipped_images}")
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    if len(found.exits) > 1:
        needed = samples_needed(ACCURACY_GAP, LOSS, 1 - CONFIDENCE)
        wanted = f"--max-accuracy-loss {LOSS}" if (found.certify_samples or 0) >= needed else "--budget 0.5"
        notes().print(f"Next: shallowdeep calibrate {run} {wanted}", soft_wrap=True)
    else:
        notes().print(f"Next: shallowdeep train --recipe ic-only --init {run} --data DATA --out RUN", soft_wrap=True)
