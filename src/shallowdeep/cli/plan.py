"""``shallowdeep plan``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.artifacts import BUNDLE_MANIFEST
from shallowdeep.cli.next_command import needs_trust, next_command
from shallowdeep.cli.objective import typed_objective
from shallowdeep.cli.options import (
    AsJson,
    BatchSize,
    Device,
    SkipBadImages,
    Threads,
    Trust,
    batch_sizes_in,
    context,
    run_or_bundle,
)
from shallowdeep.cli.terminal import notes, show
from shallowdeep.errors import ConfigurationError
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress


def plan(
    run: Annotated[
        Path,
        typer.Argument(
            callback=run_or_bundle,
            help="Directory of a run with internal classifiers, or a bundle, whose own policy and runtime are timed.",
            metavar="RUN|BUNDLE",
        ),
    ],
    *,
    batch_sizes: Annotated[str, typer.Option(help="Images in a batch, as they will be served.")] = "1,8,64",
    threshold: Annotated[float | None, typer.Option(help="As in calibrate: the paper's rule.")] = None,
    budget: Annotated[float | None, typer.Option(help="As in calibrate: a highest mean relative cost.")] = None,
    max_accuracy_loss: Annotated[
        float | None, typer.Option(help="As in calibrate: at most this may be lost; 0.01 is one point.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the promise that calibrate is to make.")] = 0.95,
    risk: Annotated[str, typer.Option(help="accuracy-gap, or disagreement with the final exit.")] = "accuracy-gap",
    renew: Annotated[bool, typer.Option("--renew", help="Measure again, though a plan like this is there.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="As in calibrate: held-out images of yours, CLASS/*; or where the run's own data is now. "
            "Of a bundle: labelled images to time on."
        ),
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="As in calibrate: held-out images, where --data says where the run's own is.")
    ] = None,
    batch_size: BatchSize = 250,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure what pays on this machine: which runtime, which precision, which exits, or none. Chooses on `tune`.

    `calibrate` and `export` follow the plan. Run it on an otherwise idle machine.
    """
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.calibration.promisable import option_of
    from shallowdeep.report.plan_tables import plan_tables
    from shallowdeep.workflows.plan import plan_run

    sizes = batch_sizes_in(batch_sizes)
    if (run / BUNDLE_MANIFEST).exists():
        if renew or {threshold, budget, max_accuracy_loss, held_out} != {None}:
            raise ConfigurationError(
                "Expected a bundle without --threshold, --budget, --max-accuracy-loss, --held-out and --renew, since "
                "its policy is timed as it is; plan a run to choose another"
            )
        _plan_of_bundle(run, sizes, data, threads, as_json=as_json)
        return
    objective = typed_objective(threshold, budget, max_accuracy_loss, confidence=confidence, risk=risk)
    with TerminalProgress() as progress:
        run_as = context(
            progress, device=device, threads=threads, batch_size=batch_size, trust=trust,
            skip_bad_images=skip_bad_images,
        )  # fmt: skip
        found, path = plan_run(
            run, objective, batch_sizes=sizes, data=data, held_out=held_out, renew=renew,
            context=run_as,
        )  # fmt: skip
    show(found, plan_tables(found), as_json=as_json)
    if path is None:
        notes().print(f"Measured on {found.date}, with these very settings; --renew measures again", soft_wrap=True)
    else:
        notes().print(f"Written: {path}", soft_wrap=True)
    asked = option_of(Objective(**found.setting["objective"])).split()
    command = next_command("calibrate", run, *asked, trust=needs_trust(run))
    notes().print(f"Next: {command}  (follows this plan)", soft_wrap=True)


def _plan_of_bundle(path: Path, sizes: list[int], data: str | None, threads: int | None, *, as_json: bool) -> None:
    """Time a bundle as it is, and say what to serve."""
    from shallowdeep.report.plan_tables import plan_tables
    from shallowdeep.workflows.plan_bundle import plan_bundle

    with TerminalProgress() as progress:
        found = plan_bundle(path, batch_sizes=sizes, data=data, threads=threads or available_cores(), progress=progress)
    show(found, plan_tables(found), as_json=as_json)
