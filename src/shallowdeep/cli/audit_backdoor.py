"""``shallowdeep audit backdoor``."""

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
    above_zero,
    context,
    writable_place,
)
from shallowdeep.cli.quick_mode import check_mode
from shallowdeep.cli.terminal import show_audit
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import TerminalProgress


def backdoor(
    *,
    quick: Quick = False,
    data: Annotated[str | None, typer.Option(help="Dataset that is poisoned.")] = None,
    model: Annotated[str | None, typer.Option(help="Network that is trained on it.")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="badnets (the paper's), badnets-3, blended or sig. (default: badnets)")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class that the attacker wants, by name or number. (default: 5)")
    ] = None,
    poison_ratio: Annotated[
        float | None, typer.Option(callback=above_zero, help="Share of the training images. (default: 0.1; sig 0.05)")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the backbone. (default: the preset's)")] = None,
    ic_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the internal classifiers. (default: the preset's)")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="Of the backbone, as for train.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(callback=above_zero, help="Of the backbone, its peak, instead of the preset's.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=20, help="Clean inputs that detectors are compared on. (default: 1000)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable_place, help="Directory of the runs. (default: audit-study or audit-quick-backdoor)"
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(hidden=True)] = None,
    clean: Annotated[str | None, typer.Option(hidden=True)] = None,
    suspects: Annotated[Path | None, typer.Option(hidden=True)] = None,
    device: Device = "auto",
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
) -> None:
    """Study a backdoor of your own: what it does at every exit, which detectors see it, what mends it."""
    if weights is not None or clean is not None or suspects is not None:
        raise ConfigurationError(
            "Expected `shallowdeep audit suspects --model M --weights FILE --clean DATA [--suspects DIR]` to examine "
            "someone else's network, got `audit backdoor`, which studies a backdoor of your own"
        )
    settings: dict[str, Any] = {
        "trigger": trigger, "target": target, "poison_ratio": poison_ratio, "epochs": epochs, "ic_epochs": ic_epochs,
        "optimizer": optimizer, "learning_rate": learning_rate, "samples": samples,
    }  # fmt: skip
    chosen = {name: value for name, value in settings.items() if value is not None}
    going_on = resume and not (quick or data or model or chosen)
    if not going_on:
        others = sorted(chosen) + (["skip_bad_images"] if skip_bad_images else [])
        check_mode({"--data": data, "--model": model}, others, quick=quick)
    from shallowdeep.report.audit_tables import backdoor_tables
    from shallowdeep.workflows.audit_backdoor import BackdoorStudy, read_study, study_backdoor
    from shallowdeep.workflows.audit_quick import quick_study

    folder = out or Path("audit-quick-backdoor" if quick else "audit-study")
    if quick:
        study = quick_study(seed)
    elif going_on:
        study = read_study(folder)
    else:
        study = BackdoorStudy(str(data), str(model), seed=seed, **chosen)
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, threads=threads, skip_bad_images=skip_bad_images)
        audit, files = study_backdoor(study, folder, resume=resume, overwrite=overwrite, context=run_as)
    show_audit(audit, backdoor_tables(audit), files, as_json=as_json)
