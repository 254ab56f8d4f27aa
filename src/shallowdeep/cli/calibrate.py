"""``shallowdeep calibrate``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shallowdeep.cli.next_command import needs_trust, next_command
from shallowdeep.cli.objective import typed_objective
from shallowdeep.cli.options import (
    AsJson,
    BatchSize,
    Device,
    SkipBadImages,
    Threads,
    Trust,
    context,
    exit_numbers_in,
    saved_run,
)
from shallowdeep.cli.terminal import note_skipped, notes, show
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.calibration.calibration_report import CalibrationReport


def calibrate(
    run: Annotated[Path, typer.Argument(callback=saved_run, help="Directory of a run with internal classifiers.")],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Held-out images of yours, CLASS/*, instead of those that training held out; or where the run's own "
            "data is now."
        ),
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="Held-out images of yours, where --data says where the run's own data is.")
    ] = None,
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
    backend: Annotated[
        str | None,
        typer.Option(help="Choose and test on this runtime's own outputs, such as openvino. (default: float32's)"),
    ] = None,
    precision: Annotated[str, typer.Option(help="Of that runtime: f32, bf16 or int8.")] = "f32",
    exits: Annotated[
        str | None,
        typer.Option(help="Internal classifiers that may be used, such as 0,2. (default: the plan's, or all)"),
    ] = None,
    no_plan: Annotated[bool, typer.Option("--no-plan", help="Leave the plan for this machine aside.")] = False,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Find when to exit: by a threshold, a budget, or a promise on the accuracy lost. Writes RUN/policy.json.

    Without any of these, the strictest promise of 1, 2, 3 or 5 points that there are images enough for; else a budget
    of 0.5.
    """
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.inference.precision import Runtime
    from shallowdeep.report.calibration_tables import calibration_tables
    from shallowdeep.workflows.calibrate import calibrate_run, calibration_document

    objective = typed_objective(
        threshold, budget, max_accuracy_loss, confidence=confidence, risk=risk, signal=signal, fallback=fallback,
        max_relative_cost=max_relative_cost, temperatures=temperatures, abstain=abstain,
    )  # fmt: skip
    if backend is None and precision != "f32":
        raise ConfigurationError(f"Expected --backend beside --precision {precision}, got none")
    runtime = None if backend is None else Runtime(backend, precision)
    may_use = None if exits is None else exit_numbers_in(exits)
    with TerminalProgress() as progress:
        run_as = context(
            progress,
            device=device,
            threads=threads,
            batch_size=batch_size,
            trust=trust,
            skip_bad_images=skip_bad_images,
        )
        report, files = calibrate_run(
            run, objective, data=data, held_out=held_out, backbone=backbone, runtime=runtime, exits=may_use,
            follow_plan=not no_plan, context=run_as,
        )  # fmt: skip
    show(calibration_document(report), calibration_tables(report), as_json=as_json)
    _tell(report, files, run)


def _tell(report: CalibrationReport, files: Sequence[Path], run: Path) -> None:
    """What stands beside the tables, on standard error: images, notes, files written, and what to do next."""
    from shallowdeep.artifacts import SKIPPED

    sizes = f"{report.tune.samples:,} and {report.certify.samples:,}"
    notes().print(f"tune and certify: {sizes} images of {report.calibrated_on}", soft_wrap=True)
    for note in report.notes:
        notes().print(note, soft_wrap=True)
    note_skipped(report.skipped_files, run / SKIPPED)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    found = report.policy.found
    unpromised = found is not None and found.rule.method == "max-accuracy-loss" and report.promise is None
    if unpromised:
        following = "a larger --max-accuracy-loss, more held-out images (calibrate --data FOLDER), or longer training"
    else:
        following = next_command("export", run, "--out", "BUNDLE", trust=needs_trust(run))
    notes().print(f"Next: {following}", soft_wrap=True)
