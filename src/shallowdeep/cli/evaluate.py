"""``shallowdeep evaluate``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.next_command import moved_data, needs_trust, next_command, run_settings
from shallowdeep.cli.options import (
    AsJson,
    BatchSize,
    Device,
    SkipBadImages,
    Threads,
    Trust,
    context,
    saved_run,
    writable_place,
)
from shallowdeep.cli.terminal import note_skipped, notes, show
from shallowdeep.progress import TerminalProgress


def evaluate(
    run: Annotated[Path, typer.Argument(callback=saved_run, help="Directory of a run.")],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Other data with the same classes, evaluated whole; or the run's own, moved. (default: the run's)"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test, tune or train.")] = "test",
    out: Annotated[
        Path | None, typer.Option(callback=writable_place, help="Where files go. (default: RUN; with --data nowhere)")
    ] = None,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a network exit by exit: accuracy, cost, and what early exits give."""
    from shallowdeep.artifacts import SKIPPED
    from shallowdeep.calibration.promisable import suggested_option
    from shallowdeep.report.tables import evaluation_tables
    from shallowdeep.runs.init_arguments import init_arguments
    from shallowdeep.workflows.evaluate import evaluate_run

    with TerminalProgress() as progress:
        run_as = context(
            progress,
            device=device,
            threads=threads,
            batch_size=batch_size,
            trust=trust,
            skip_bad_images=skip_bad_images,
        )
        found, files = evaluate_run(run, data=data, split=split, out=out, context=run_as)
    show(found, evaluation_tables(found), as_json=as_json)
    if found.warning:
        notes().print(found.warning, soft_wrap=True)
    note_skipped(found.skipped_files, (out or run) / SKIPPED)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    place = moved_data(run, data, own=found.tune_dataset is not None)
    if len(found.exits) > 1:
        option = suggested_option(found.certify_samples or 0)
        following = next_command("calibrate", run, *option.split(), trust=needs_trust(run), data=place)
    else:
        config = run_settings(run, place)
        arguments = init_arguments(run, config, "ic-only")
        following = next_command("train", *arguments, "--out", "RUN", trust=needs_trust(run))
    notes().print(f"Next: {following}", soft_wrap=True)
