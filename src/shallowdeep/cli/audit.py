"""``shallowdeep audit``: backdoors and slowdown."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shallowdeep.cli.analyze import typed
from shallowdeep.cli.options import AsJson, Device, SkipBadImages, Trust
from shallowdeep.cli.terminal import TerminalObserver, notes, show

app = typer.Typer(
    help="Is a network backdoored, and can it be slowed down?", context_settings={"help_option_names": ["-h", "--help"]}
)

Quick = Annotated[bool, typer.Option("--quick", help="On 5,000 embedded digits, from training to findings.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the runs in --out.")]


@app.command()
def backdoor(
    *,
    quick: Quick = False,
    data: Annotated[str | None, typer.Option(help="Study: dataset that is poisoned.")] = None,
    model: Annotated[str | None, typer.Option(help="Network that is trained, or that --weights are of.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Suspect: state dict of the network to be judged.")] = None,
    clean: Annotated[str | None, typer.Option(help="Suspect: clean, labelled images (as --data of train).")] = None,
    suspects: Annotated[Path | None, typer.Option(help="Suspect: folder of images to be judged.")] = None,
    trigger: Annotated[str, typer.Option(help="Study: badnets (the paper's), badnets-3, blended or sig.")] = "badnets",
    target: Annotated[str, typer.Option(help="Study: class that the attacker wants, by name or number.")] = "5",
    poison_ratio: Annotated[float, typer.Option(help="Study: share of the training images.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=0, help="Of the backbone. (0: the preset's)")] = 0,
    ic_epochs: Annotated[int, typer.Option(min=0, help="Of the internal classifiers. (0: the preset's)")] = 0,
    mean: Annotated[str | None, typer.Option(help="Suspect: of channels in [0, 1], as the weights want.")] = None,
    std: Annotated[str | None, typer.Option(help="Beside --mean. (default: measured)")] = None,
    image_size: Annotated[int, typer.Option(min=0, help="Suspect: side in pixels. (0: the network's)")] = 0,
    calibration_fraction: Annotated[
        float, typer.Option(help="Suspect: share of the clean images held out to compare with.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    samples: Annotated[int, typer.Option(min=20, help="Study: clean inputs that detectors are compared on.")] = 1000,
    out: Annotated[Path, typer.Option(help="Directory of the runs, made here.")] = Path("audit-backdoor"),
    device: Device = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Study a backdoor of your own, or judge someone else's network by clean images and suspects."""
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.report.audit_tables import backdoor_tables

    suspect = [name for name, value in (("--weights", weights), ("--clean", clean), ("--suspects", suspects)) if value]
    modes = [bool(quick), data is not None, bool(suspect)]
    if sum(modes) != 1 or (not quick and model is None) or (suspect and (weights is None or clean is None)):
        raise ConfigurationError(
            "Expected --quick, or --data and --model (a study), or --model, --weights and --clean (a suspect network), "
            f"got {_given(quick=quick, data=data, model=model, weights=weights, clean=clean, suspects=suspects)}"
        )
    how: dict[str, Any] = {"command": typed()}
    with TerminalObserver() as observer:
        how |= {"observer": observer, "data_progress": observer.data}
        if quick:
            from shallowdeep.experiment.quick_audit import quick_backdoor

            document, files = quick_backdoor(out, seed=seed, **how)
        elif data is not None:
            from shallowdeep.experiment.backdoor_study import BackdoorStudy, study_backdoor

            study = BackdoorStudy(
                data,
                str(model),
                trigger,
                target,
                poison_ratio,
                epochs,
                ic_epochs,
                seed,
                samples,
                device,
                skip_bad_images,
            )
            document, files = study_backdoor(study, out, resume=resume, overwrite=overwrite, **how)
        else:
            from shallowdeep.experiment.config import TrainConfig, three_numbers
            from shallowdeep.experiment.suspect_audit import audit_suspects

            config = TrainConfig(
                data=str(clean), model=str(model), recipe="ic-only", weights=str(weights), epochs=ic_epochs, seed=seed,
                mean=() if mean is None else three_numbers(mean), std=() if std is None else three_numbers(std),
                image_size=image_size, calibration_fraction=calibration_fraction, device=device,
                skip_bad_images=skip_bad_images,
            )  # fmt: skip
            document, files = audit_suspects(
                config, suspects, out, resume=resume, overwrite=overwrite, trust=trust, **how
            )
    _finish(document, backdoor_tables(document), files, as_json=as_json)


@app.command()
def slowdown(
    run: Annotated[Path | None, typer.Argument(help="Directory of a run with internal classifiers.")] = None,
    *,
    quick: Quick = False,
    samples: Annotated[int, typer.Option(min=1, help="Test images that are changed.")] = 500,
    iterations: Annotated[int, typer.Option(min=1, help="Steps for each of them.")] = 30,
    epsilon: Annotated[float, typer.Option(help="Largest change of a pixel, of 255.")] = 8.0,
    transfer: Annotated[Path | None, typer.Option(help="Another run, to craft changes on too.")] = None,
    hardened: Annotated[Path | None, typer.Option(help="A run trained with --adversarial-steps, to compare.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which images; moved thresholds.")] = 0,
    out: Annotated[Path, typer.Option(help="With --quick: directory of the runs, renewed.")] = Path("audit-slowdown"),
    device: Device = "auto",
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Change images by little, so that nothing leaves early, and see what that costs."""
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.report.audit_tables import slowdown_tables

    if quick == (run is not None):
        raise ConfigurationError(
            "Expected a RUN or --quick, got both" if quick else "Expected a RUN or --quick, got neither"
        )
    with TerminalObserver() as observer:
        how: dict[str, Any] = {"command": typed(), "observer": observer, "data_progress": observer.data}
        if run is None:
            from shallowdeep.experiment.quick_audit import quick_slowdown

            document, files = quick_slowdown(out, seed=seed, **how)
        else:
            from shallowdeep.experiment.slowdown_audit import SlowdownAudit, audit_slowdown

            audit = SlowdownAudit(
                samples, iterations, epsilon, seed, transfer, hardened, device, skip_bad_images, trust
            )
            document, files = audit_slowdown(run, audit, **how)
    _finish(document, slowdown_tables(document), files, as_json=as_json)


def _given(**options: object) -> str:
    """Which options were given, for a message."""
    names = [f"--{name}" for name, value in options.items() if value]
    return ", ".join(names) or "none of them"


def _finish(document: dict[str, Any], tables: Any, files: list[Path], *, as_json: bool) -> None:  # noqa: ANN401
    show(document, tables, as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {files[-1].parent}", soft_wrap=True)
