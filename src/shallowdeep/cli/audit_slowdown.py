"""``shallowdeep audit slowdown``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shallowdeep.cli.options import (
    AsJson,
    Device,
    Overwrite,
    Quick,
    Resume,
    SkipBadImages,
    Threads,
    Trust,
    context,
    saved_run,
    writable_place,
)
from shallowdeep.cli.terminal import show_audit
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import TerminalProgress


def slowdown(
    run: Annotated[
        Path | None, typer.Argument(callback=saved_run, help="Directory of a run with internal classifiers.")
    ] = None,
    *,
    quick: Quick = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Test images that are changed. (default: 500)")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Steps for each of them. (default: 30)")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Largest change of a pixel, of 255. (default: 8)")] = None,
    step: Annotated[
        float | None, typer.Option(help="Change of a pixel a step, of 255. (default: a quarter of --epsilon)")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images changed at a time. (default: 125)")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data of the runs is now, if it has moved.")] = None,
    transfer: Annotated[Path | None, typer.Option(help="Another run, to craft changes on too.")] = None,
    hardened: Annotated[Path | None, typer.Option(help="A run trained with --adversarial-steps, to compare.")] = None,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Do not time the engine on changed images.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the images chosen and thresholds moved; with --quick of all.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable_place, help="With --quick: directory of its runs. (default: audit-quick-slowdown)"
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Change images by little, so that nothing leaves early, and see what that costs."""
    options = {
        "samples": samples, "iterations": iterations, "epsilon": epsilon, "step": step, "batch_size": batch_size,
        "data": data, "transfer": transfer, "hardened": hardened, "timing": False if no_timing else None,
    }  # fmt: skip
    settings: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    flags = {"skip_bad_images": skip_bad_images, "trust": trust}
    given = {**settings, **{name: True for name, value in flags.items() if value}}
    if no_timing:
        given["no_timing"] = given.pop("timing")
    for_quick = {"--out": out, "--resume": resume or None, "--overwrite": overwrite or None}
    if quick == (run is not None):
        raise ConfigurationError(f"Expected a RUN or --quick, got {'both' if quick else 'neither'}")
    unused = {f"--{name.replace('_', '-')}": value for name, value in given.items()} if quick else for_quick
    others = [name for name, value in unused.items() if value is not None]
    if others:
        raise ConfigurationError(f"Expected no {', '.join(others)} {'beside' if quick else 'without'} --quick")
    from shallowdeep.report.audit_tables import slowdown_tables

    with TerminalProgress() as progress:
        run_as = context(progress, device=device, threads=threads, trust=trust, skip_bad_images=skip_bad_images)
        if run is None:
            from shallowdeep.workflows.audit_quick import quick_slowdown

            audit, files = quick_slowdown(
                out or Path("audit-quick-slowdown"), seed=seed, resume=resume, overwrite=overwrite, context=run_as
            )
        else:
            from shallowdeep.workflows.audit_slowdown import SlowdownSettings, audit_slowdown

            audit, files = audit_slowdown(run, SlowdownSettings(seed=seed, **settings), run_as)
    show_audit(audit, slowdown_tables(audit), files, as_json=as_json)
