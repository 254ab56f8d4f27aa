"""``shallowdeep audit suspects``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    writable_place,
)
from shallowdeep.cli.quick_mode import check_mode
from shallowdeep.cli.terminal import show_audit
from shallowdeep.progress import TerminalProgress


def suspects(
    *,
    quick: Quick = False,
    model: Annotated[str | None, typer.Option(help="Name of the network that the weights are of.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="State dict of the network to be examined (.safetensors, .pth).")
    ] = None,
    clean: Annotated[str | None, typer.Option(help="Clean, labelled images, as --data of train.")] = None,
    suspects: Annotated[
        Path | None, typer.Option(help="Folder of images to be examined. (default: known triggers are tried)")
    ] = None,
    ic_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the internal classifiers. (default: the preset's)")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Of each channel, in [0, 1], as the weights want it.")] = None,
    std: Annotated[str | None, typer.Option(help="Beside --mean. (default: measured)")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side in pixels. (default: the network's)")] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Share of the clean images that nothing is trained on. (default: 0.5)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable_place,
            help="Directory of the run that is made. (default: audit-suspects or audit-quick-suspects)",
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
    """Examine someone else's network with clean images of your own: does it answer suspects as it answers these?"""
    settings = {
        "suspects": suspects, "ic_epochs": ic_epochs, "mean": mean, "std": std, "image_size": image_size,
        "calibration_fraction": calibration_fraction, "skip_bad_images": skip_bad_images or None,
        "trust": trust or None,
    }  # fmt: skip
    others = [name for name, value in settings.items() if value is not None]
    check_mode({"--model": model, "--weights": weights, "--clean": clean}, others, quick=quick)
    from shallowdeep.report.audit_tables import suspects_tables
    from shallowdeep.runs.config import TrainConfig, channel_numbers
    from shallowdeep.workflows.audit_quick import quick_suspects
    from shallowdeep.workflows.audit_suspects import HELD_OUT, audit_suspects

    folder = out or Path("audit-quick-suspects" if quick else "audit-suspects")
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, threads=threads, trust=trust, skip_bad_images=skip_bad_images)
        if quick:
            audit, files = quick_suspects(folder, seed=seed, resume=resume, overwrite=overwrite, context=run_as)
        else:
            config = TrainConfig(
                data=str(clean), model=str(model), recipe="ic-only", weights=str(weights), epochs=ic_epochs or 0,
                seed=seed, mean=() if mean is None else channel_numbers(mean),
                std=() if std is None else channel_numbers(std), image_size=image_size or 0,
                calibration_fraction=HELD_OUT if calibration_fraction is None else calibration_fraction,
                device=device, skip_bad_images=skip_bad_images,
            )  # fmt: skip
            audit, files = audit_suspects(config, suspects, folder, resume=resume, overwrite=overwrite, context=run_as)
    show_audit(audit, suspects_tables(audit), files, as_json=as_json)
