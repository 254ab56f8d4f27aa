"""``shallowdeep train``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from shallowdeep.cli.next_command import next_command
from shallowdeep.cli.options import (
    Alpha,
    AsJson,
    ChannelOrder,
    Channels,
    CropShare,
    ExactResize,
    ExpectAccuracy,
    ImageSize,
    Interpolation,
    Mean,
    Orientation,
    PreprocessingName,
    Resize,
    Std,
    Threads,
    above_zero,
    context,
    writable_place,
)
from shallowdeep.cli.terminal import note_skipped, show
from shallowdeep.progress import TerminalProgress, first_process

if TYPE_CHECKING:
    from shallowdeep.workflows.train import TrainingSummary


def train(
    *,
    out: Annotated[Path, typer.Option(callback=writable_place, help="Directory of the run, made here.")],
    data: Annotated[
        str | None, typer.Option(help="Dataset name, folder of Parquet files or tables of text, or image folder.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A name from `shallowdeep models`, torchvision:NAME, timm:NAME, hf:NAME_OR_DIR, module:callable."
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="backbone, ic-only, joint, mixed or best. (default: joint)")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Hyper-parameters: short (one cycle) or paper. (default: short)")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            callback=above_zero, help="Passes over the images; schedules scale with it. (default: the preset's)"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of splits, weights, order, augmentation. (default: 0)")] = None,
    init: Annotated[Path | None, typer.Option(help="Run whose backbone is taken over.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="State dict for the backbone (.safetensors, .pth, .ckpt, .bin ...).")
    ] = None,
    new_head: Annotated[
        bool | None, typer.Option("--new-head", help="Its last layer starts anew: for weights of other classes.")
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained", help="Published weights (torchvision:, timm:).")
    ] = None,
    train_backbone: Annotated[
        bool | None, typer.Option("--train-backbone", help="Let ic-only train the backbone first.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; options here win.")] = None,
    mean: Mean = None,
    std: Std = None,
    preprocessing: PreprocessingName = None,
    interpolation: Interpolation = None,
    resize: Resize = None,
    crop_share: CropShare = None,
    alpha: Alpha = None,
    orientation: Orientation = None,
    exact_resize: ExactResize = None,
    channel_order: ChannelOrder = None,
    expect_accuracy: ExpectAccuracy = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="none, standard, cifar, light, tiny-imagenet, fashion, digits. (default: by data, preset)"),
    ] = None,
    image_size: ImageSize = None,
    channels: Channels = None,
    exits: Annotated[
        str | None, typer.Option(help="Number of internal classifiers, or target shares of MACs: 0.2,0.5,0.8")
    ] = None,
    place_by: Annotated[
        str | None, typer.Option(help="Shares of what: macs, or time, measured here. (default: macs)")
    ] = None,
    timed_heads: Annotated[
        bool | None,
        typer.Option("--timed-heads", help="For each exit the strongest head that takes at most 3 % of the time."),
    ] = None,
    time_on: Annotated[
        str | None,
        typer.Option(
            help="What is measured: openvino:f32, openvino:bf16 or openvino:int8; openvino:int8:1 at batch 1, not 64. "
            "(default: the fastest here)"
        ),
    ] = None,
    conv_heads: Annotated[
        int | None, typer.Option(callback=above_zero, help="How many of the first exits get a convolution.")
    ] = None,
    deep_heads: Annotated[
        int | None,
        typer.Option(
            callback=above_zero,
            help="How many of the first exits get convolutions down to 8 pixels. (default: none; in best all)",
        ),
    ] = None,
    cascade: Annotated[
        bool | None, typer.Option("--cascade", help="Exits read the logits of the exit before them too.")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="sgd, muon or adamw, in preset short. (default: muon; adamw for names with ':')"),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(callback=above_zero, help="Peak, instead of the preset's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(callback=above_zero, help="Over all devices, instead of the preset's.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(callback=above_zero, help="Augmented views ic-only caches. (default: 5)")
    ] = None,
    equilibrium: Annotated[
        bool | None, typer.Option("--equilibrium", help="The trunk gets the mean of the exits' gradients, not the sum.")
    ] = None,
    exit_weight: Annotated[
        float | None,
        typer.Option(
            callback=above_zero,
            help="Constant weight of each internal classifier's loss. (default: rising; best: 0.5)",
        ),
    ] = None,
    distillation: Annotated[
        float | None, typer.Option(help="Share of the exits' loss that the final exit teaches, such as 0.5.")
    ] = None,
    adversarial_steps: Annotated[
        int | None,
        typer.Option(
            callback=above_zero, help="Harden exits against a slowdown attack of so many steps, such as 5; slow."
        ),
    ] = None,
    adversarial_epsilon: Annotated[
        float | None, typer.Option(help="Largest change of a pixel in that attack, of 255. (default: 8)")
    ] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Share of training images to hold out. (default: 0.1)")
    ] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Where there is no test part. (default: 0.2)")] = None,
    text_column: Annotated[str | None, typer.Option(help="Of tables with texts. (default: text, sentence ...)")] = None,
    max_length: Annotated[
        int | None,
        typer.Option(callback=above_zero, help="Tokens of the longest text. (default: what the network takes)"),
    ] = None,
    skip_bad_images: Annotated[
        bool | None, typer.Option("--skip-bad-images", help="Leave out images that cannot be decoded, and count them.")
    ] = None,
    memory_budget: Annotated[
        float | None, typer.Option(help="GiB of decoded images to hold; more streams from disk. (default: 2)")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that decode what streams, 0 for the training's own. (default: 2)")
    ] = None,
    cache_budget: Annotated[float | None, typer.Option(help="GiB of disk for cached features. (default: 8)")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16. (default: auto)")] = None,
    weights_dtype: Annotated[str | None, typer.Option(help="Of saved weights: fp32 or fp16. (default: fp32)")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda ... (default: auto)")] = None,
    threads: Threads = None,
    tensorboard: Annotated[
        bool | None,
        typer.Option(
            "--tensorboard/--no-tensorboard", help="Event files for TensorBoard in OUT/tensorboard. (default: no)"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code that a file (--init, --config, the run) names.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network: its backbone, its internal classifiers, or both together."""
    from shallowdeep.artifacts import CONFIG, SKIPPED
    from shallowdeep.errors import ConfigurationError
    from shallowdeep.image_size import size_from
    from shallowdeep.runs.config import channel_numbers, config_from, exit_fractions, read_settings

    given: dict[str, Any] = {
        "data": data, "model": model, "recipe": recipe, "preset": preset, "epochs": epochs, "seed": seed,
        "init": None if init is None else str(init), "weights": None if weights is None else str(weights),
        "new_head": new_head, "pretrained": pretrained, "train_backbone": train_backbone,
        "image_size": None if image_size is None else size_from(image_size), "channels": channels,
        "mean": None if mean is None else channel_numbers(mean), "std": None if std is None else channel_numbers(std),
        "preprocessing": preprocessing, "interpolation": interpolation, "resize": resize, "crop_share": crop_share,
        "alpha": alpha, "orientation": orientation, "exact_resize": exact_resize, "channel_order": channel_order,
        "expect_accuracy": expect_accuracy, "augmentation": augmentation,
        "fractions": None if exits is None else exit_fractions(exits), "place_by": place_by,
        "timed_heads": timed_heads, "time_on": time_on, "conv_heads": conv_heads,
        "deep_heads": deep_heads, "cascade": cascade, "optimizer": optimizer,
        "learning_rate": learning_rate, "batch_size": batch_size, "views": views,
        "equilibrium": equilibrium, "exit_weight": exit_weight, "distillation": distillation,
        "adversarial_steps": adversarial_steps, "adversarial_epsilon": adversarial_epsilon,
        "calibration_fraction": calibration_fraction, "test_fraction": test_fraction,
        "skip_bad_images": skip_bad_images, "memory_budget": memory_budget, "workers": workers,
        "cache_budget": cache_budget, "precision": precision, "weights_dtype": weights_dtype, "device": device,
        "tensorboard": tensorboard, "text_column": text_column, "max_length": max_length,
    }  # fmt: skip
    options = {key: value for key, value in given.items() if value is not None}
    source = config if config is not None else (out / CONFIG if resume else None)
    if resume and config is None and not (out / CONFIG).exists():
        source = None
        if data is None:
            raise ConfigurationError(f"Expected a run to resume in {out}, found no {CONFIG}; give --data to begin one")
    settings = config_from({**(read_settings(source) if source else {}), **options}, str(source or "the command line"))
    from shallowdeep.models.registry import is_trusted  # it takes seconds to import: settings are checked before
    from shallowdeep.workflows.train import train_run

    if not (model or settings.init or trust or is_trusted(settings.model)):
        raise ConfigurationError(
            f"Expected --model or --trust to import and run {settings.model!r}, which {source} names"
        )
    with TerminalProgress() as progress:
        result = train_run(
            settings, out, resume=resume, overwrite=overwrite, context=context(progress, trust=trust, threads=threads)
        )
    summary = result.summary()
    show(summary, _readable(summary), as_json=as_json)
    if first_process() and not as_json:
        command = next_command("evaluate", out, trust=not is_trusted(result.config.model))
        typer.echo(f"Saved in {summary.out}. Next: {command}")  # in one line, to be pasted
    note_skipped(summary.skipped_files, out / SKIPPED, summary.skipped_images)


def _readable(summary: TrainingSummary) -> RenderableType:
    from shallowdeep.report.tables import percent, plain_table

    rows = [
        (number, exit_.name, f"{exit_.relative_cost:.3f}", percent(exit_.tune_accuracy))
        for number, exit_ in enumerate(summary.exits)
    ]
    title = f"{summary.model} on {summary.dataset}"
    return plain_table(title, ["exit", "name", "cost", "held-out accuracy %"], rows)
