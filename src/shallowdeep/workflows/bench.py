"""Real images for `bench`, and where its results go."""

# ruff: noqa: PLC0415 - torch and matplotlib take seconds to import: after the first line of progress
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shallowdeep.artifacts import BENCH, BENCH_PICTURE
from shallowdeep.bench.comparison import Comparison, check_static, compare
from shallowdeep.context import RunContext
from shallowdeep.data.sources.registry import source_directory
from shallowdeep.documents import plain
from shallowdeep.errors import BadImageError, ConfigurationError, DataError, UnknownNameError
from shallowdeep.files import require_writable, write_json
from shallowdeep.inference.bundle import Bundle, preprocessing_of, read_bundle
from shallowdeep.progress import SILENT, Progress

if TYPE_CHECKING:
    from shallowdeep.data.image_split import ImageSplit

MOST_IMAGES = 2048
_CHUNK = 64  # images read at a time


class LabelledImages(NamedTuple):
    """Images to time on.

    Attributes:
        images: (N, 3, S, S) float32, normalised, in random order; or token ids (N, L) int64, by length.
        labels: (N,) int64 in [0, C), in the bundle's order of classes.
        name: of the dataset.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    name: str


def bench_bundle(
    path: Path,
    *,
    data: str | None,
    batch_sizes: Sequence[int],
    rounds: int,
    threads: int,
    neighbour: bool = False,
    out: Path | None,
    context: RunContext,
) -> tuple[Comparison, list[Path]]:
    """Engine against static network of a bundle on real images, and the files written.

    Args:
        path: of the bundle.
        data: where images come from: its test part, or all of it where it has none. When None, the test split of what
            the network was trained on.
        batch_sizes: to measure.
        rounds: for each.
        threads: of each worker.
        neighbour: time both beside a busy single-threaded process too.
        out: directory for `bench.json` and `bench.png`, or None.
        context: told what is done, and how far it is.

    Raises:
        ShallowDeepError: the bundle or the data cannot be read, or do not go together.
    """
    if not path.exists():
        raise DataError(f"Expected the directory of a bundle, got {path}, which does not exist")
    bundle = read_bundle(path, static=True)
    check_static(bundle)
    if out is not None:
        require_writable(out)
    source = _settings(bundle, data)["source"]
    context.progress.say(f"Reading up to {MOST_IMAGES:,} images to time on, from {source}")
    from shallowdeep.report.bench_figure import bench_figure
    from shallowdeep.report.figures import save_figure

    found = labelled_images(bundle, data, context.progress)
    comparison = compare(
        bundle, found.images, found.labels, data=found.name, batch_sizes=batch_sizes, rounds=rounds, threads=threads,
        neighbour=neighbour, progress=context.progress,
    )  # fmt: skip
    if out is None:
        return comparison, []
    write_json(out / BENCH, plain(comparison))
    save_figure(bench_figure(comparison), out / BENCH_PICTURE)
    return comparison, [out / BENCH, out / BENCH_PICTURE]


def real_images(bundle: Bundle, data: str | None, progress: Progress = SILENT) -> tuple[NDArray[Any], str]:
    """The images of `labelled_images` and the dataset's name, for those that only measure time."""
    found = labelled_images(bundle, data, progress)
    return found.images, found.name


def labelled_images(bundle: Bundle, data: str | None, progress: Progress = SILENT) -> LabelledImages:
    """At most `MOST_IMAGES` normalised images in random order, with their labels.

    Args:
        bundle: brings preprocessing and classes.
        data: where they come from: its test part, or all of it where it has none. When None, the test split of what the
            network was trained on.
        progress: told how the reading of data goes.

    Raises:
        ConfigurationError: the bundle does not say what its network was trained on, or the data has other classes.
        DataError: there is no such data, or no longer.
    """
    from shallowdeep.data.load import load_dataset
    from shallowdeep.data.splits import seeded_order
    from shallowdeep.runs.preparation import check_classes

    settings = _settings(bundle, data)
    source, fingerprint = settings.pop("source"), settings.pop("fingerprint", None)
    wanted = preprocessing_of(bundle)
    try:
        splits = load_dataset(source, image_size=wanted.size, preprocessing=wanted, progress=progress, **settings)
    except BadImageError:
        raise
    except DataError as error:
        if data is not None:
            raise
        raise _gone(bundle, str(error)) from error
    check_classes(bundle.classes, str(bundle.path), splits.classes, source)
    if fingerprint not in (None, splits.fingerprints.splits):
        raise _gone(bundle, f"another split of {source}, in which images were added, removed or relabelled since")
    part = splits.test if data is None else splits.all_images
    chosen = part.subset(seeded_order(len(part), 0)[:MOST_IMAGES])  # else a folder's come class by class
    chosen.prepare()
    if chosen.lengths is not None:
        return _by_length(chosen, splits.name)
    images, labels = [], []
    with progress.start("reading images", "images", len(chosen)) as bar:
        for places in np.array_split(np.arange(len(chosen)), max(1, len(chosen) // _CHUNK)):
            pixels, right = chosen.fetch(places)
            images.append(wanted.normalize(pixels).contiguous().numpy())
            labels.append(right.numpy())
            bar.advance(len(places))
    return LabelledImages(np.concatenate(images), np.concatenate(labels), splits.name)


def _by_length(part: ImageSplit, name: str) -> LabelledImages:
    """Texts as token ids (N, L), short ones first: batches of a length, as whoever serves them would make them."""
    tokens, labels = part.fetch(np.argsort(np.asarray(part.lengths), kind="stable"))
    return LabelledImages(tokens.numpy(), labels.numpy(), name)


def _settings(bundle: Bundle, data: str | None) -> dict[str, Any]:
    """What `load_dataset` needs, ``source`` among it.

    Raises:
        ConfigurationError: the bundle does not say what its network was trained on.
        DataError: there is no such data, or no longer.
    """
    if data is not None:
        source_directory(data)
        return {"source": data}
    if not bundle.data:
        raise ConfigurationError(f"Expected --data, since {bundle.path} does not say what it was trained on")
    try:
        source_directory(bundle.data["source"])
    except (DataError, UnknownNameError) as error:
        raise _gone(bundle, f"{bundle.data['source']!r}, which does not exist") from error
    return dict(bundle.data)


def _gone(bundle: Bundle, reason: str) -> DataError:
    """The error for data that a bundle's network was trained on and that cannot be read here."""
    return DataError(
        f"Expected the data that the network of {bundle.path} was trained on, got {reason}; --data names other images"
    )
