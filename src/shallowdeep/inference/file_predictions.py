"""Image files to answers, by a bundle's engine (no torch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, zip_longest
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.data.image import decode_image, image_files
from shallowdeep.errors import BadImageError, DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.inference.batch_state import Answers
from shallowdeep.inference.bundle import Bundle, preprocessing_of
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.machine import available_cores
from shallowdeep.progress import SILENT, Progress

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class FileAnswer:
    """The answer for one file.

    Attributes:
        file: its path.
        label: name of the class, or its number where the bundle names none.
        confidence: of the exit that answered, by the policy's signal.
        exit: that it left at, from 0.
        relative_cost: of the answer, as a fraction of the backbone's.
        forced: the policy's cost limit ended it, not its confidence.
        confusion: z-scored; None at the first exit in use, and where the bundle has no statistics.
        abstained: the label is too doubtful to be used.
    """

    file: str
    label: str
    confidence: float
    exit: int
    relative_cost: float
    forced: bool
    confusion: float | None
    abstained: bool


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be decoded.

    Attributes:
        file: its path.
        error: what was wrong with it.
    """

    file: str
    error: str


@dataclass(frozen=True)
class FilePredictions:
    """Answers for the files that could be read, and what was wrong with the others.

    Attributes:
        bundle: path of the bundle that answered.
        predictions: one a file, in the order given.
        failed: the other files.
        mean_relative_cost: of the predictions; None where there are none.
    """

    bundle: str
    predictions: tuple[FileAnswer, ...]
    failed: tuple[FailedFile, ...]
    mean_relative_cost: float | None


def find_images(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files among ``paths``, and those with an image extension in its folders, however deep, by name.

    Returns:
        The files, and the folders that hold none.

    Raises:
        DataError: a path that does not exist, or no image at all.
    """
    found: list[Path] = []
    empty: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = image_files(path)
            found += inside
            empty += [] if inside else [path]
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"Expected an image or a folder of images, got {path}, which does not exist")
    if not found:
        raise DataError(f"Expected at least one image in {', '.join(map(str, paths))}, found none")
    return found, empty


def predict_files(
    bundle: Bundle,
    files: Sequence[Path],
    *,
    batch_size: int = 64,
    threads: int | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> FilePredictions:
    """Answer every file that can be decoded.

    Args:
        bundle: brings engine, preprocessing and class names.
        files: images of any size and mode.
        batch_size: how many go through the engine together.
        threads: of the runtime; None for one a core.
        workers: threads that decode images; None for one a core.
        progress: told how many files are done.
    """
    preprocessing = preprocessing_of(bundle)
    engine = EarlyExitEngine(bundle, threads=threads, confusion=bundle.confusion or False)
    answers: list[FileAnswer] = []
    failed: list[FailedFile] = []
    batches = list(_batches(files, batch_size))
    pool = ThreadPoolExecutor(workers or available_cores())
    with progress.start("predicting", "images", len(files)) as bar, pool as decoders:
        ahead = _decoding(decoders, batches[0], preprocessing.size) if batches else []
        for batch, upcoming in zip_longest(batches, batches[1:]):
            decoded, ahead = ahead, _decoding(decoders, upcoming or [], preprocessing.size)  # while the engine runs
            pixels, names = [], []
            for file, one in zip(batch, decoded, strict=True):
                try:
                    pixels.append(one.result())
                    names.append(str(file))
                except BadImageError as error:
                    failed.append(FailedFile(str(file), str(error)))
            if pixels:
                answers.extend(_answers(engine, bundle, names, np.stack(pixels)))
            bar.advance(len(batch))
    mean = sum(answer.relative_cost for answer in answers) / len(answers) if answers else None
    return FilePredictions(str(bundle.path), tuple(answers), tuple(failed), mean)


def _decoding(decoders: ThreadPoolExecutor, files: Sequence[Path], size: int) -> list[Future[Pixels]]:
    """Images (size, size, 3) uint8 that threads are decoding."""
    return [decoders.submit(decode_image, file, size) for file in files]


def _batches(files: Sequence[Path], size: int) -> Iterator[list[Path]]:
    rest = iter(files)
    while batch := list(islice(rest, size)):
        yield batch


def _answers(engine: EarlyExitEngine, bundle: Bundle, names: Sequence[str], pixels: Pixels) -> list[FileAnswer]:
    """One an image, from pixels (N, S, S, 3)."""
    images = preprocessing_of(bundle).normalize_array(pixels.transpose(0, 3, 1, 2))
    answers = engine(images)
    fields = (answers.labels, answers.confidences, answers.exits, answers.relative_costs, answers.forced)
    withheld = [False] * len(names) if answers.abstained is None else to_numpy(answers.abstained).tolist()
    rows = zip(names, *(to_numpy(values).tolist() for values in fields), _confusions(answers), withheld, strict=True)
    return [
        FileAnswer(
            file=name,
            label=bundle.classes[label] if bundle.classes else str(label),
            confidence=confidence,
            exit=exit_,
            relative_cost=cost,
            forced=force,
            confusion=confusion,
            abstained=abstained,
        )
        for name, label, confidence, exit_, cost, force, confusion, abstained in rows
    ]


def _confusions(answers: Answers) -> list[float | None]:
    """Confusion of each answer; None at the first exit, where nothing disagrees yet, and where it is not told."""
    if answers.confusions is None:
        return [None] * len(answers.labels)
    values = to_numpy(answers.confusions).tolist()
    return [value if isfinite(value) else None for value in values]
