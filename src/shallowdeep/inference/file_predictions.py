"""Image files to answers, by a bundle's engine (no torch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import BadImageError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.inference.batch_state import Answers
from shallowdeep.inference.bundle import Bundle, preprocessing_of
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.image_input import Pixels, decode_source, network_input
from shallowdeep.inference.precision import runtime_name
from shallowdeep.inference.promise_here import promises_of
from shallowdeep.machine import available_cores
from shallowdeep.progress import SILENT, Progress

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LabelProbability:
    """One class and how probable it is.

    Attributes:
        label: name of the class, or its number where the bundle names none.
        probability: at the exit that answered.
    """

    label: str
    probability: float


@dataclass(frozen=True)
class FileAnswer:
    """The answer for one file.

    Attributes:
        file: its path; of a text where it stands, such as ``line 3 of lines.txt``.
        label: name of the class, or its number where the bundle names none.
        confidence: of the exit that answered, by the policy's signal.
        exit: that it left at, from 0.
        relative_cost: of the answer, as a fraction of the backbone's.
        forced: the policy's cost limit ended it, not its confidence.
        confusion: z-scored; None at the first exit in use, and where the bundle has no statistics.
        abstained: the label is too doubtful to be used.
        top: the most probable classes at the exit that answered, from the label down, as many as were asked for.
        probabilities: of all classes there, in the bundle's order; None where they were not asked for.
        text: that was answered; None of an image.
    """

    file: str
    label: str
    confidence: float
    exit: int
    relative_cost: float
    forced: bool
    confusion: float | None
    abstained: bool
    top: tuple[LabelProbability, ...]
    probabilities: tuple[float, ...] | None = None
    text: str | None = None


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
        classes: all of them, in the order of `FileAnswer.probabilities`; numbers where the bundle names none.
        predictions: one a file, in the order given.
        failed: the other files.
        mean_relative_cost: of the predictions; None where there are none.
        runtime: that answered, with its precision where that is not float32.
        promise: what the bundle's policy promises, of its accuracy or of the answers that it gives; None for nothing.
        withdrawn: why what it promised does not hold on this processor; None where nothing was withdrawn.
    """

    bundle: str
    classes: tuple[str, ...]
    predictions: tuple[FileAnswer, ...]
    failed: tuple[FailedFile, ...]
    mean_relative_cost: float | None
    runtime: str = ""
    promise: str | None = None
    withdrawn: str | None = None


def predict_files(
    bundle: Bundle,
    files: Sequence[Path],
    *,
    batch_size: int = 64,
    threads: int | None = None,
    workers: int | None = None,
    top: int = 1,
    probabilities: bool = False,
    progress: Progress = SILENT,
) -> FilePredictions:
    """Answer every file that can be decoded.

    Args:
        bundle: brings engine, preprocessing and class names.
        files: images of any size and mode.
        batch_size: how many go through the engine together.
        threads: of the runtime; None for one a core.
        workers: threads that decode images; None for one a core.
        top: how many of the most probable classes to tell of each; where there are fewer, all.
        probabilities: tell those of all classes.
        progress: told how many files are done.
    """
    preprocessing = images_alone(preprocessing_of(bundle))
    engine = EarlyExitEngine(bundle, threads=threads, confusion=bundle.confusion or False)
    answers: list[FileAnswer] = []
    classes = bundle.classes
    failed: list[FailedFile] = []
    batches = list(_batches(files, batch_size))
    pool = ThreadPoolExecutor(workers or available_cores())
    with progress.start("predicting", "images", len(files)) as bar, pool as decoders:
        ahead = _decoding(decoders, batches[0], preprocessing) if batches else []
        for batch, upcoming in zip_longest(batches, batches[1:]):
            decoded, ahead = ahead, _decoding(decoders, upcoming or [], preprocessing)  # while the engine runs
            pixels, names = [], []
            for file, one in zip(batch, decoded, strict=True):
                try:
                    pixels.append(one.result())
                    names.append(str(file))
                except BadImageError as error:
                    failed.append(FailedFile(str(file), str(error)))
            if pixels:
                found = engine(network_input(pixels, preprocessing), probabilities=True)
                classes = classes or numbered(found)
                answers.extend(told_of(found, names, classes, top=top, probabilities=probabilities))
            bar.advance(len(batch))
    return gathered(bundle, classes, answers, failed)


def gathered(
    bundle: Bundle, classes: Sequence[str], answers: Sequence[FileAnswer], failed: Sequence[FailedFile] = ()
) -> FilePredictions:
    """Return answers with what is said of all of them."""
    mean = sum(answer.relative_cost for answer in answers) / len(answers) if answers else None
    promise = " ".join(promise.sentence for promise in promises_of(bundle.policy)) or None
    runtime = runtime_name(bundle.backend, bundle.precision)
    return FilePredictions(
        str(bundle.path), tuple(classes), tuple(answers), tuple(failed), mean, runtime, promise, bundle.withdrawn
    )


def numbered(answers: Answers) -> tuple[str, ...]:
    """Return names of classes where a bundle has none: their numbers."""
    return tuple(str(number) for number in range(to_numpy(answers.probabilities).shape[1]))


def told_of(
    answers: Answers,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    top: int,
    probabilities: bool,
    texts: Sequence[str] | None = None,
) -> list[FileAnswer]:
    """Return what is told of each answer.

    Args:
        answers: with probabilities.
        names: of the samples.
        classes: C names.
        top: how many of the most probable classes.
        probabilities: tell those of all classes.
        texts: that were answered; None for images.
    """
    told = to_numpy(answers.probabilities)
    shown = told.tolist() if probabilities else [None] * len(told)
    best = most_probable(told, to_numpy(answers.labels), top)
    found = _answers(answers, names, classes, best, shown)
    if texts is None:
        return found
    return [replace(answer, text=text) for answer, text in zip(found, texts, strict=True)]


def _decoding(
    decoders: ThreadPoolExecutor, files: Sequence[Path], preprocessing: Preprocessing
) -> list[Future[Pixels]]:
    """Images (S, S, 3) uint8 that threads are decoding."""
    return [decoders.submit(decode_source, file, preprocessing) for file in files]


def _batches(files: Sequence[Path], size: int) -> Iterator[list[Path]]:
    rest = iter(files)
    while batch := list(islice(rest, size)):
        yield batch


def most_probable(probabilities: Floats, labels: Integers, count: int) -> list[list[tuple[int, float]]]:
    """Return the most probable classes of each sample and their probabilities, the label first.

    Args:
        probabilities: (N, C).
        labels: (N,) the answers: the most probable class, or one of several between which only rounding decides.
        count: at least 1; of more than C, all are given.

    Returns:
        For each sample ``count`` pairs, of equally probable classes the lower number first.
    """
    ranked = probabilities.copy()
    np.put_along_axis(ranked, labels[:, None], np.inf, axis=1)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(probabilities, order, axis=1)
    return [list(zip(*pair, strict=True)) for pair in zip(order.tolist(), values.tolist(), strict=True)]


def _answers(
    answers: Answers,
    names: Sequence[str],
    classes: Sequence[str],
    top: Sequence[Sequence[tuple[int, float]]],
    probabilities: Sequence[list[float] | None],
) -> list[FileAnswer]:
    """One an image."""
    fields = (answers.labels, answers.confidences, answers.exits, answers.relative_costs, answers.forced)
    withheld = [False] * len(names) if answers.abstained is None else to_numpy(answers.abstained).tolist()
    columns = (*(to_numpy(values).tolist() for values in fields), _confusions(answers), withheld, top, probabilities)
    return [
        FileAnswer(
            file=name,
            label=classes[label],
            confidence=confidence,
            exit=exit_,
            relative_cost=cost,
            forced=force,
            confusion=confusion,
            abstained=abstained,
            top=tuple(LabelProbability(classes[number], probability) for number, probability in best),
            probabilities=None if every is None else tuple(every),
        )
        for name, label, confidence, exit_, cost, force, confusion, abstained, best, every in zip(
            names, *columns, strict=True
        )
    ]


def _confusions(answers: Answers) -> list[float | None]:
    """Confusion of each answer; None at the first exit, where nothing disagrees yet, and where it is not told."""
    if answers.confusions is None:
        return [None] * len(answers.labels)
    values = to_numpy(answers.confusions).tolist()
    return [value if isfinite(value) else None for value in values]
