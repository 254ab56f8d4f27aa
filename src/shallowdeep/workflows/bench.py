"""Real images for `bench`, and where its results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.artifacts import BENCH, BENCH_PICTURE
from shallowdeep.bench.comparison import Comparison, compare
from shallowdeep.context import RunContext
from shallowdeep.data.load import load_dataset
from shallowdeep.data.splits import seeded_order
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.files import write_json
from shallowdeep.inference.bundle import Bundle, preprocessing_of, read_bundle
from shallowdeep.progress import SILENT, Progress
from shallowdeep.report.bench_figure import bench_figure
from shallowdeep.report.figures import save_figure
from shallowdeep.runs.preparation import check_classes

MOST_IMAGES = 2048


def bench_bundle(
    path: Path,
    *,
    data: str | None,
    batch_sizes: Sequence[int],
    rounds: int,
    threads: int,
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
        out: directory for `bench.json` and `bench.png`, or None.
        context: told how far it is.

    Raises:
        ShallowDeepError: the bundle or the data cannot be read, or do not go together.
    """
    bundle = read_bundle(path)
    place = None if out is None else (out if out.exists() else out.absolute().parent)
    if place is not None and not (place.is_dir() and os.access(place, os.W_OK)):
        raise OutputError(f"Expected to write to {out}, which may not be written; --out names another directory")
    images, name = real_images(bundle, data, context.progress)
    comparison = compare(
        bundle, images, data=name, batch_sizes=batch_sizes, rounds=rounds, threads=threads, progress=context.progress
    )
    if out is None:
        return comparison, []
    write_json(out / BENCH, plain(comparison))
    save_figure(bench_figure(comparison), out / BENCH_PICTURE)
    return comparison, [out / BENCH, out / BENCH_PICTURE]


def real_images(bundle: Bundle, data: str | None, progress: Progress = SILENT) -> tuple[NDArray[np.float32], str]:
    """At most `MOST_IMAGES` normalised images (N, 3, S, S), in random order, and the dataset's name.

    Args:
        bundle: brings preprocessing and classes.
        data: where they come from: its test part, or all of it where it has none. When None, the test split of what the
            network was trained on.
        progress: told how the reading of data goes.

    Raises:
        ConfigurationError: the bundle does not say what its network was trained on, or the data has other classes.
    """
    settings = dict(bundle.data) if data is None else {"source": data}
    if not settings:
        raise ConfigurationError(f"Expected --data, since {bundle.path} does not say what it was trained on")
    source = settings.pop("source")
    wanted = preprocessing_of(bundle)
    splits = load_dataset(source, image_size=wanted.size, preprocessing=wanted, progress=progress, **settings)
    check_classes(bundle.classes, str(bundle.path), splits.classes, source)
    part = splits.test if data is None else splits.all_images
    chosen = part.subset(seeded_order(len(part), 0)[:MOST_IMAGES])  # else a folder's come class by class
    images, _ = chosen.fetch(np.arange(len(chosen)))
    ready: NDArray[np.float32] = wanted.normalize(images).contiguous().numpy()
    return ready, splits.name
