"""``shallowdeep convert``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType

from shallowdeep.cli.options import (
    Alpha,
    AsJson,
    ChannelOrder,
    Channels,
    CropShare,
    Device,
    ExactResize,
    ExpectAccuracy,
    ImageSize,
    Interpolation,
    Mean,
    Orientation,
    PreprocessingName,
    Resize,
    SkipBadImages,
    Std,
    Threads,
    above_zero,
    context,
    writable_place,
)
from shallowdeep.cli.terminal import notes, show
from shallowdeep.machine import available_cores
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.workflows.calibrate import Choice
    from shallowdeep.workflows.convert import Conversion


def convert(
    *,
    model: Annotated[
        str, typer.Option(help="A name from `shallowdeep models`, torchvision:NAME, timm:NAME, module:callable.")
    ],
    data: Annotated[str, typer.Option(help="Dataset name, folder of Parquet files, or image folder.")],
    out: Annotated[Path, typer.Option(callback=writable_place, help="Directory of the bundle, made here.")],
    weights: Annotated[Path, typer.Option(help="State dict of the network (.safetensors, .pth, .ckpt, .bin ...).")],
    run: Annotated[
        Path | None, typer.Option(callback=writable_place, help="Directory of the run behind it. (default: OUT-run)")
    ] = None,
    max_accuracy_loss: Annotated[
        float | None, typer.Option(help="To be promised; 0.01 is one point. (default: what the images allow)")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Mean relative cost, instead of a promise; 0.5 is half the multiply-adds.")
    ] = None,
    expect_accuracy: ExpectAccuracy = None,
    preprocessing: PreprocessingName = None,
    mean: Mean = None,
    std: Std = None,
    interpolation: Interpolation = None,
    resize: Resize = None,
    crop_share: CropShare = None,
    alpha: Alpha = None,
    orientation: Orientation = None,
    exact_resize: ExactResize = None,
    channel_order: ChannelOrder = None,
    image_size: ImageSize = None,
    channels: Channels = None,
    epochs: Annotated[
        int | None, typer.Option(callback=above_zero, help="Of the exits' training. (default: the preset's)")
    ] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Share of training images to hold out. (default: 0.1)")
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="Images that the network has not seen, CLASS/*, to calibrate on.")
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
    from shallowdeep.image_size import size_from
    from shallowdeep.runs.config import channel_numbers, config_from, read_settings
    from shallowdeep.workflows.convert import IC_ONLY, convert_network

    given: dict[str, Any] = {
        "data": data, "model": model, "recipe": IC_ONLY, "weights": str(weights),
        "expect_accuracy": expect_accuracy, "preprocessing": preprocessing,
        "mean": None if mean is None else channel_numbers(mean), "std": None if std is None else channel_numbers(std),
        "interpolation": interpolation, "resize": resize, "crop_share": crop_share, "alpha": alpha,
        "orientation": orientation, "exact_resize": exact_resize, "channel_order": channel_order,
        "image_size": None if image_size is None else size_from(image_size), "channels": channels, "epochs": epochs,
        "calibration_fraction": calibration_fraction, "seed": seed,
        "skip_bad_images": skip_bad_images or None, "device": None if device == "auto" else device,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    settings = config_from({**(read_settings(config) if config else {}), **options}, str(config or "the command line"))
    objective: Objective | Choice = suggested_objective
    if max_accuracy_loss is not None or budget is not None:
        objective = Objective(budget=budget, max_accuracy_loss=max_accuracy_loss)
    with TerminalProgress() as progress:
        made = convert_network(
            settings, out.with_name(f"{out.name}-run") if run is None else run, out, objective, held_out=held_out,
            threads=threads or available_cores(), resume=resume, overwrite=overwrite,
            context=context(
                progress, device=device, trust=trust, skip_bad_images=skip_bad_images, threads=threads
            ),
        )  # fmt: skip
    show(made, _readable(made), as_json=as_json)
    for note in made.notes:
        notes().print(note, soft_wrap=True)
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
        f"Speed: against the network itself in {made.runtime}, on this machine. It was timed in "
        f"{', '.join(made.statics)}.",
        *promise,
        "",
        made.verdict,
    )
