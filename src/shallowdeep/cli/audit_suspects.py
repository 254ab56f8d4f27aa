"""``shallowdeep audit suspects``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import AsJson, Device, Overwrite, Resume, SkipBadImages, Trust, context
from shallowdeep.cli.terminal import show_audit
from shallowdeep.progress import TerminalProgress

HELD_OUT = 0.5
"""Share of someone's clean images that internal classifiers are not trained on, where no other is asked for."""


def suspects(
    *,
    model: Annotated[str, typer.Option(help="Name of the network that the weights are of.")],
    weights: Annotated[Path, typer.Option(help="State dict of the network to be examined (.safetensors, .pth).")],
    clean: Annotated[str, typer.Option(help="Clean, labelled images, as --data of train.")],
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
        float, typer.Option(help="Share of the clean images that nothing is trained on.")
    ] = HELD_OUT,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    out: Annotated[Path, typer.Option(help="Directory of the run that is made.")] = Path("audit-suspects"),
    device: Device = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Examine someone else's network with clean images of your own: does it answer suspects as it answers these?"""
    from shallowdeep.report.audit_tables import backdoor_tables
    from shallowdeep.runs.config import TrainConfig, three_numbers
    from shallowdeep.workflows.audit_suspects import audit_suspects

    config = TrainConfig(
        data=clean, model=model, recipe="ic-only", weights=str(weights), epochs=ic_epochs or 0, seed=seed,
        mean=() if mean is None else three_numbers(mean), std=() if std is None else three_numbers(std),
        image_size=image_size or 0, calibration_fraction=calibration_fraction, device=device,
        skip_bad_images=skip_bad_images,
    )  # fmt: skip
    with TerminalProgress() as progress:
        run_as = context(progress, device=device, trust=trust, skip_bad_images=skip_bad_images)
        document, files = audit_suspects(config, suspects, out, resume=resume, overwrite=overwrite, context=run_as)
    show_audit(document, backdoor_tables(document), files, as_json=as_json)
