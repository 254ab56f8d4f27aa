"""``shallowdeep audit``: backdoors and slowdown."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shallowdeep.cli.options import AsJson, Device, SkipBadImages, Trust, above_zero, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import TerminalProgress

app = typer.Typer(
    help="Is a network backdoored, and can it be slowed down?", context_settings={"help_option_names": ["-h", "--help"]}
)

Quick = Annotated[bool, typer.Option("--quick", help="On 5,000 embedded digits, from training to findings.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the runs in --out.")]

_STUDY = frozenset(
    {
        "--data",
        "--model",
        "--trigger",
        "--target",
        "--poison-ratio",
        "--epochs",
        "--ic-epochs",
        "--optimizer",
        "--learning-rate",
        "--samples",
        "--skip-bad-images",
    }
)
_SUSPECT = frozenset(
    {
        "--model", "--weights", "--clean", "--suspects", "--ic-epochs", "--mean", "--std", "--image-size",
        "--calibration-fraction", "--skip-bad-images", "--trust",
    }
)  # fmt: skip
HELD_OUT = 0.5
"""Share of someone's clean images that internal classifiers are not trained on, where no other is asked for."""


@app.command()
def backdoor(
    *,
    quick: Quick = False,
    data: Annotated[str | None, typer.Option(help="Study: dataset that is poisoned.")] = None,
    model: Annotated[str | None, typer.Option(help="Network that is trained, or that --weights are of.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Suspect: state dict of the network to be examined.")] = None,
    clean: Annotated[str | None, typer.Option(help="Suspect: clean, labelled images (as --data of train).")] = None,
    suspects: Annotated[Path | None, typer.Option(help="Suspect: folder of images to be examined.")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Study: badnets (the paper's), badnets-3, blended or sig. (default: badnets)")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Study: class that the attacker wants, by name or number. (default: 5)")
    ] = None,
    poison_ratio: Annotated[
        float | None,
        typer.Option(callback=above_zero, help="Study: share of the training images. (default: 0.1; sig 0.05)"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Study: of the backbone. (default: the preset's)")] = None,
    ic_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the internal classifiers. (default: the preset's)")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="Study: of the backbone, as for train.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(callback=above_zero, help="Study: of the backbone, its peak, instead of the preset's."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=20, help="Study: clean inputs that detectors are compared on. (default: 1000)")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Suspect: mean of each channel, in [0, 1], for the weights.")] = None,
    std: Annotated[str | None, typer.Option(help="Beside --mean. (default: measured)")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Suspect: side in pixels. (default: the network's)")
    ] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Suspect: share of the clean images that nothing is trained on. (default: 0.5)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the runs. (default: audit-study, audit-suspect or audit-quick-backdoor)"),
    ] = None,
    device: Device = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Study a backdoor of your own, or examine someone else's network with clean images and suspects."""
    given: dict[str, Any] = {
        "--data": data, "--model": model, "--weights": weights, "--clean": clean, "--suspects": suspects,
        "--trigger": trigger, "--target": target, "--poison-ratio": poison_ratio, "--epochs": epochs,
        "--ic-epochs": ic_epochs, "--optimizer": optimizer, "--learning-rate": learning_rate, "--samples": samples,
        "--mean": mean, "--std": std, "--image-size": image_size,
        "--calibration-fraction": calibration_fraction, "--skip-bad-images": skip_bad_images or None,
        "--trust": trust or None,
    }  # fmt: skip
    mode = _mode({name for name, value in given.items() if value is not None}, quick=quick)
    from shallowdeep.report.audit_tables import backdoor_tables

    how: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    folder = out or Path({"quick": "audit-quick-backdoor", "study": "audit-study", "suspect": "audit-suspect"}[mode])
    with TerminalProgress() as progress:
        how["context"] = context(progress, device=device, trust=trust, skip_bad_images=skip_bad_images)
        if mode == "suspect":
            from shallowdeep.runs.config import TrainConfig, three_numbers
            from shallowdeep.workflows.audit_suspects import audit_suspects

            config = TrainConfig(
                data=str(clean), model=str(model), recipe="ic-only", weights=str(weights), epochs=ic_epochs or 0,
                seed=seed, mean=() if mean is None else three_numbers(mean),
                std=() if std is None else three_numbers(std), image_size=image_size or 0,
                calibration_fraction=HELD_OUT if calibration_fraction is None else calibration_fraction,
                device=device, skip_bad_images=skip_bad_images,
            )  # fmt: skip
            document, files = audit_suspects(config, suspects, folder, **how)
        else:
            from shallowdeep.workflows.audit_backdoor import BackdoorStudy, study_backdoor
            from shallowdeep.workflows.audit_quick import quick_study

            if mode == "quick":
                study = quick_study(seed)
            else:
                settings: dict[str, Any] = {
                    "trigger": trigger, "target": target, "ratio": poison_ratio, "epochs": epochs,
                    "ic_epochs": ic_epochs, "optimizer": optimizer, "learning_rate": learning_rate,
                    "samples": samples,
                }  # fmt: skip
                chosen = {name: value for name, value in settings.items() if value is not None}
                study = BackdoorStudy(str(data), str(model), seed=seed, **chosen)
            document, files = study_backdoor(study, folder, **how)
    _finish(document, backdoor_tables(document), files, as_json=as_json)


def _mode(given: set[str], *, quick: bool) -> str:
    """What is asked for: ``quick``, ``study`` or ``suspect``.

    Raises:
        ConfigurationError: none of these, or options that one has no use for.
    """
    modes: list[tuple[str, frozenset[str], bool]] = [
        ("quick", frozenset(), quick),
        ("study", _STUDY, "--data" in given),
        ("suspect", _SUSPECT, bool(given & {"--weights", "--clean", "--suspects"})),
    ]
    asked = [(name, known) for name, known, wanted in modes if wanted]
    needed: dict[str, set[str]] = {
        "quick": set(),
        "study": {"--data", "--model"},
        "suspect": {"--model", "--weights", "--clean"},
    }
    if len(asked) != 1 or not needed[asked[0][0]] <= given:
        got = ", ".join([*(["--quick"] if quick else []), *sorted(given)]) or "none of them"
        raise ConfigurationError(
            "Expected --quick, or --data and --model (a study), or --model, --weights and --clean (a suspect network), "
            f"got {got}"
        )
    ((mode, known),) = asked
    if given - known:
        raise ConfigurationError(f"Expected no {', '.join(sorted(given - known))} in the mode '{mode}', got it")
    return mode


@app.command()
def slowdown(
    run: Annotated[Path | None, typer.Argument(help="Directory of a run with internal classifiers.")] = None,
    *,
    quick: Quick = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Test images that are changed. (default: 500)")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Steps for each of them. (default: 30)")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Largest change of a pixel, of 255. (default: 8)")] = None,
    step: Annotated[
        float | None, typer.Option(help="Change of a pixel a step, of 255. (default: a quarter of --epsilon)")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images changed at a time. (default: 125)")] = None,
    data: Annotated[str | None, typer.Option(help="What RUN was trained on, where it does not say so.")] = None,
    transfer: Annotated[Path | None, typer.Option(help="Another run, to craft changes on too.")] = None,
    hardened: Annotated[Path | None, typer.Option(help="A run trained with --adversarial-steps, to compare.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the images chosen and thresholds moved; with --quick of all.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="With --quick: directory of its runs. (default: audit-quick-slowdown)")
    ] = None,
    device: Device = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_bad_images: SkipBadImages = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Change images by little, so that nothing leaves early, and see what that costs."""
    options = {
        "samples": samples, "iterations": iterations, "epsilon": epsilon, "step": step, "batch_size": batch_size,
        "data": data, "transfer": transfer, "hardened": hardened,
    }  # fmt: skip
    settings: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    flags = {"skip_bad_images": skip_bad_images, "trust": trust}
    given = {**settings, **{name: True for name, value in flags.items() if value}}
    for_quick = {"--out": out, "--resume": resume or None, "--overwrite": overwrite or None}
    if quick == (run is not None):
        raise ConfigurationError(f"Expected a RUN or --quick, got {'both' if quick else 'neither'}")
    unused = {f"--{name.replace('_', '-')}": value for name, value in given.items()} if quick else for_quick
    others = [name for name, value in unused.items() if value is not None]
    if others:
        raise ConfigurationError(f"Expected no {', '.join(others)} {'beside' if quick else 'without'} --quick")
    from shallowdeep.report.audit_tables import slowdown_tables

    with TerminalProgress() as progress:
        run_as = context(progress, device=device, trust=trust, skip_bad_images=skip_bad_images)
        if run is None:
            from shallowdeep.workflows.audit_quick import quick_slowdown

            document, files = quick_slowdown(
                out or Path("audit-quick-slowdown"), seed=seed, resume=resume, overwrite=overwrite, context=run_as
            )
        else:
            from shallowdeep.workflows.audit_slowdown import SlowdownAudit, audit_slowdown

            document, files = audit_slowdown(run, SlowdownAudit(seed=seed, **settings), run_as)
    _finish(document, slowdown_tables(document), files, as_json=as_json)


def _finish(document: dict[str, Any], tables: Any, files: list[Path], *, as_json: bool) -> None:  # noqa: ANN401
    show(document, tables, as_json=as_json)
    for path in files:
        notes().print(f"Written: {path}", soft_wrap=True)
    notes().print(f"Next: shallowdeep report {files[-1].parent}", soft_wrap=True)
