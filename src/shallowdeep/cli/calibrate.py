"""``shallowdeep calibrate``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import AsJson, BatchSize, Device, SkipBadImages, Trust, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress


def calibrate(
    run: Annotated[Path, typer.Argument(help="Directory of a run with internal classifiers.")],
    *,
    threshold: Annotated[
        float | None, typer.Option(help="The paper's rule: leave at the first exit at least so confident.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Best accuracy on `tune` at a mean relative cost of at most this.")
    ] = None,
    max_accuracy_loss: Annotated[
        float | None, typer.Option(help="Cheapest policy promised to lose at most this; 0.01 is one point.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Probability with which the promise holds.")] = 0.95,
    risk: Annotated[
        str, typer.Option(help="accuracy-gap, or disagreement with the final exit, which is stricter.")
    ] = "accuracy-gap",
    signal: Annotated[
        str, typer.Option(help="max-probability, entropy, margin, patience or ensemble.")
    ] = "max-probability",
    fallback: Annotated[
        str, typer.Option(help="Who answers when no exit is confident: final, or most-confident (the paper's).")
    ] = "final",
    max_relative_cost: Annotated[float | None, typer.Option(help="No image may cost more.")] = None,
    temperatures: Annotated[
        bool | None,
        typer.Option(
            "--temperatures/--no-temperatures",
            help="Fit one per exit on `tune`, used where each exit has its own threshold. (default: fit, but for "
            "--threshold and the signal ensemble)",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(help="Withhold doubtful answers: at most this share of those given is wrong, with --confidence."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="Run whose final exit the test accuracy is compared with too.")
    ] = None,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Find when to exit: by a threshold, a budget, or a promise on the accuracy lost. Writes RUN/policy.json."""
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.report.calibration_tables import calibration_tables
    from shallowdeep.workflows.calibrate import calibrate_run, calibration_document

    given = {"--threshold": threshold, "--budget": budget, "--max-accuracy-loss": max_accuracy_loss}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise ConfigurationError(
            f"Expected one of --threshold, --budget and --max-accuracy-loss, got {' and '.join(names) or 'none'}"
        )
    objective = Objective(
        threshold, budget, max_accuracy_loss, confidence, risk, signal, fallback, max_relative_cost, temperatures,
        abstain,
    )  # fmt: skip
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, batch_size=batch_size, trust=trust, skip_bad_images=skip_bad_images)
        report, files = calibrate_run(run, objective, backbone=backbone, context=run_as)
    show(calibration_document(report), calibration_tables(report), as_json=as_json)
    for note in report.notes:
        notes().print(note, soft_wrap=True)
    if report.skipped_images:
        notes().print(f"Bad images left out: {report.skipped_images}")
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep export {run} --out BUNDLE", soft_wrap=True)
