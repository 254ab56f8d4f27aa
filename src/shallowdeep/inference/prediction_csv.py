"""Answers as comma-separated values: a header, then a line for each file that was answered."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TextIO

from shallowdeep.inference.file_predictions import FileAnswer, FilePredictions

COLUMNS = ("file", "label", "confidence", "exit", "relative_cost", "confusion", "forced", "abstained")


def write_csv(predictions: FilePredictions, output: TextIO, top: int = 1) -> None:
    """Write the answers to a text file; a value that is not known is empty.

    Args:
        predictions: by `predict_files`. Where it has the probabilities of all classes, each class gets a column
            ``probability_CLASS``.
        output: opened for writing.
        top: above 1, ``label_2``, ``probability_2`` and so on follow, up to this or the number of classes.
    """
    further = range(2, min(top, len(predictions.classes)) + 1)
    every = any(answer.probabilities is not None for answer in predictions.predictions)
    texts = any(answer.text is not None for answer in predictions.predictions)
    header = [
        *COLUMNS,
        *(["text"] if texts else []),
        *(f"{what}_{place}" for place in further for what in ("label", "probability")),
    ]
    header += [f"probability_{name}" for name in predictions.classes] if every else []
    rows = csv.writer(output, lineterminator="\n")
    rows.writerow(header)
    rows.writerows(list(_row(answer, len(further))) for answer in predictions.predictions)
    output.flush()  # a reader that has gone is noticed here, not when Python shuts down


def _row(answer: FileAnswer, further: int) -> Iterator[object]:
    yield _encodable(answer.file)
    yield answer.label
    yield _number(answer.confidence)
    yield answer.exit
    yield _number(answer.relative_cost)
    yield "" if answer.confusion is None else _number(answer.confusion)
    yield _truth(answer.forced)
    yield _truth(answer.abstained)
    if answer.text is not None:
        yield _encodable(answer.text)
    for one in answer.top[1 : further + 1]:
        yield one.label
        yield _number(one.probability)
    yield from map(_number, answer.probabilities or ())


def _number(value: float) -> str:
    """Seven digits, which tell every float32 near 1 apart."""
    return f"{value:.7g}"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _encodable(name: str) -> str:
    """The name of a file; bytes in it that are no UTF-8 become the replacement character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
