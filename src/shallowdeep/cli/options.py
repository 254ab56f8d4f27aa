"""Options that several subcommands share, with their help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.artifacts import BUNDLE_MANIFEST, CONFIG, MODEL_MANIFEST
from shallowdeep.context import RunContext
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.files import require_writable
from shallowdeep.machine import use_threads
from shallowdeep.progress import Progress


def above_zero(value: float | None) -> float | None:
    """Refuse numbers that are not positive, as a typer callback."""
    if value is not None and not value > 0:
        raise typer.BadParameter(f"Expected a number above 0, got {value}")
    return value


def batch_sizes_in(text: str) -> list[int]:
    """Return sizes of batches that were typed, separated by commas."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"Expected batch sizes such as 1,8,64, got {text!r}")
    return sizes


def exit_numbers_in(text: str) -> list[int]:
    """Return numbers of internal classifiers that were typed, separated by commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"Expected numbers of exits such as 0,2, got {text!r}") from None


def context(
    progress: Progress,
    *,
    device: str = "auto",
    batch_size: int = 250,
    trust: bool = False,
    skip_bad_images: bool = False,
    threads: int | None = None,
) -> RunContext:
    """Return how a command runs, by the options that commands share; from now on it computes with so many threads."""
    if threads is not None:
        use_threads(threads)
    return RunContext(device, batch_size, trust, skip_bad_images, progress, typed())


def saved_run(path: Path | None) -> Path | None:
    """Refuse a directory that holds no network, before anything slow is imported, as a typer callback.

    A run that a training has not finished is left to the command, which says more of it.
    """
    if path is not None and not (path / MODEL_MANIFEST).exists() and not (path / CONFIG).exists():
        raise CheckpointError(f"Expected a saved network with {MODEL_MANIFEST} in {path}, found none")
    return path


def run_or_bundle(path: Path) -> Path:
    """Refuse what holds neither a network nor a bundle, before anything slow is imported, as a typer callback."""
    if not (path / BUNDLE_MANIFEST).exists():
        saved_run(path)
    return path


def run_or_file(path: Path) -> Path:
    """Refuse what is neither a run nor a file, before anything slow is imported, as a typer callback."""
    if not path.exists():
        raise ConfigurationError(f"Expected a run's directory or an npz file of predictions, {path} does not exist")
    if path.is_dir():
        saved_run(path)
    return path


def writable_place(path: Path | None) -> Path | None:
    """Refuse an output that cannot be made, before anything slow is imported, as a typer callback.

    Whether one that is there may be written is for the command to say: some only look at it.
    """
    if path is not None and not path.exists():
        require_writable(path)
    return path


def typed() -> str:
    """The command line as it was typed, for the provenance of what it makes."""
    return " ".join(["shallowdeep", *sys.argv[1:]])


BatchSize = Annotated[int, typer.Option(help="Images at a time.")]
Threads = Annotated[int | None, typer.Option(min=1, help="To compute with. (default: one a core)")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda ...")]
SkipBadImages = Annotated[bool, typer.Option("--skip-bad-images", help="Leave out what cannot be decoded.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run code that the manifest names.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quick = Annotated[bool, typer.Option("--quick", help="On 5,000 bundled digits, from training to findings.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the runs in --out.")]
Source = Annotated[
    Path,
    typer.Argument(
        callback=run_or_file, help="Directory of a run, or an npz file of predictions.", metavar="RUN|FILE.npz"
    ),
]
Split = Annotated[str, typer.Option(help="Of a run: test, tune or train.")]
Tune = Annotated[Path | None, typer.Option(help="With FILE.npz: another such file, of labelled samples to fit on.")]
Data = Annotated[str | None, typer.Option(help="Where the run's data is now, if it has moved.")]
Resamples = Annotated[int, typer.Option(help="For bootstrap intervals; 0 for none.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the resampling.")]
Mean = Annotated[str | None, typer.Option(help="Of channels in [0, 1], as weights of yours want: 0.485,0.456,0.406")]
Std = Annotated[str | None, typer.Option(help="Beside --mean. (default: measured, or as published)")]
PreprocessingName = Annotated[
    str | None,
    typer.Option(
        help="timm, torchvision, or a FILE: our keys, a preprocessor_config.json, timm's config.json. "
        "(default: as published for --weights, --pretrained)"
    ),
]
Interpolation = Annotated[str | None, typer.Option(help="nearest, bilinear, bicubic or lanczos. (default: bicubic)")]
Resize = Annotated[
    str | None, typer.Option(help="Of images that are no squares: crop, pad or stretch. (default: crop)")
]
CropShare = Annotated[
    float | None,
    typer.Option(callback=above_zero, help="Of the side that the centre crop keeps, such as 0.875. (default: 1)"),
]
Alpha = Annotated[str | None, typer.Option(help="Transparency on white, on black, or drop. (default: white)")]
Orientation = Annotated[str | None, typer.Option(help="exif turns images as it says, stored does not. (default: exif)")]
ExactResize = Annotated[
    bool | None,
    typer.Option("--exact-resize", help="From all pixels at once under the default rules too; slower."),
]
ChannelOrder = Annotated[str | None, typer.Option(help="Of the network's input: rgb or bgr. (default: rgb)")]
ExpectAccuracy = Annotated[
    float | None,
    typer.Option(callback=above_zero, help="Refuse weights that are below this on the test part, such as 0.89."),
]
ImageSize = Annotated[
    str | None, typer.Option(help="Side in pixels, or height and width: 96x160. (default: the network's)")
]
Channels = Annotated[int | None, typer.Option(help="Of the images: 1 for grey, 3, or 4 with alpha. (default: 3)")]
