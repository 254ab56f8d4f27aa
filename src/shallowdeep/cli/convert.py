"""``shallowdeep convert``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType

from shallowdeep.cli.options import AsJson, Device, SkipBadImages, Threads, above_zero, context, writable_place
from shallowdeep.cli.terminal import notes, show
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.workflows.convert import Conversion


def convert(
    *,
    model: Annotated[
        str, typer.Option(help="A name from `shallowdeep models`, torchvision:NAME, timm:NAME, module:callable.")
    ],
    data: Annotated[str, typer.Option(help="Dataset name, folder of Parquet files, or image folder.")],
    out: Annotated[Path, typer.Option(callback=writable_place, help="Directory of the bundle, made here.")],
    weights: Annotated[Path | None, typer.Option(help="State dict of the network (.safetensors, .pth).")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Published weights (torchvision:, timm:), instead of --weights.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option(callback=writable_place, help="Directory of the run behind it. (default: OUT-run)")
    ] = None,
    max_accuracy_loss: Annotated[
        float | None, typer.Option(help="To be promised; 0.01 is one point. (default: what the images allow)")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Mean relative cost, instead of a promise; 0.5 is half the multiply-adds.")
    ] = None,
    expect_accuracy: Annotated[
        float | None, typer.Option(help="Refuse weights less accurate on the test images, such as 0.89.")
    ] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="timm, torchvision or a file. (default: what is published for the model)")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(callback=above_zero, help="Side in pixels. (default: the network's)")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(callback=above_zero, help="Of the exits' training. (default: the preset's)")
    ] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Share of training images to hold out. (default: 0.1)")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of splits, weights, order, augmentation. (default: 0)")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with other settings of `train`.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    skip_bad_images: SkipBadImages = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace run and bundle.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run code that --config or the run names.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained network exit early: train exits on it, calibrate, export, time it, and say what to deploy."""
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.calibration.promisable import suggested_objective
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.runs.config import config_from, read_settings
    from shallowdeep.workflows.convert import IC_ONLY, convert_network

    if (weights is None) == (not pretrained):
        got = "none" if weights is None else "both"
        raise ConfigurationError(f"Expected a trained network by --weights or --pretrained, got {got}")
    given: dict[str, Any] = {
        "data": data, "model": model, "recipe": IC_ONLY, "weights": None if weights is None else str(weights),
        "pretrained": pretrained or None, "expect_accuracy": expect_accuracy, "preprocessing": preprocessing,
        "image_size": image_size, "epochs": epochs, "calibration_fraction": calibration_fraction, "seed": seed,
        "skip_bad_images": skip_bad_images or None, "device": None if device == "auto" else device,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    settings = config_from({**(read_settings(config) if config else {}), **options}, str(config or "the command line"))
    objective: Objective | Callable[[int], Objective] = functools.partial(suggested_objective)
    if max_accuracy_loss is not None or budget is not None:
        objective = Objective(budget=budget, max_accuracy_loss=max_accuracy_loss)
    with TerminalProgress() as progress:
        made = convert_network(
            settings, out.with_name(f"{out.name}-run") if run is None else run, out, objective,
            threads=threads or available_cores(), resume=resume, overwrite=overwrite,
            context=context(
                progress, device=device, trust=trust, skip_bad_images=skip_bad_images, threads=threads
            ),
        )  # fmt: skip
    show(made, _readable(made), as_json=as_json)
    notes().print(f"Next: shallowdeep predict {out} IMAGE...  or  shallowdeep report {made.run}", soft_wrap=True)


def _readable(made: Conversion) -> RenderableType:
    from shallowdeep.report.tables import percent, plain_table

    rows = [
        ("the network itself", percent(made.static_accuracy), "1", *("1" for _ in made.speedups)),
        (
            "with early exits", percent(made.accuracy), f"{made.relative_cost:.3f}",
            *(
                f"{one.speedup.median:.2f} [{one.speedup.low:.2f}, {one.speedup.high:.2f}]" for one in made.speedups
            ),
        ),
    ]  # fmt: skip
    columns = ["", "test accuracy %", "cost", *(f"speed, batch {one.batch_size} [95 %]" for one in made.speedups)]
    promise = () if made.promise is None else (f"Promise: {made.promise.sentence}",)
    return Group(
        plain_table(f"{made.model} on {made.dataset}", columns, rows),
        "Speed: against the network itself in ONNX Runtime, float32, on this machine; int8 and bf16 were not compared.",
        *promise,
        "",
        made.verdict,
    )
