"""Most probable classes, and answers as comma-separated values."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np

from shallowdeep.inference.file_predictions import (
    FailedFile,
    FileAnswer,
    FilePredictions,
    LabelProbability,
    most_probable,
)
from shallowdeep.inference.prediction_csv import write_csv


def test_the_most_probable_classes_come_first() -> None:
    """Of equal ones the lower number, but the label before all; of more than there are, all."""
    probabilities = np.array([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2]], np.float32)
    labels = np.array([1, 1])
    assert [[number for number, _ in one] for one in most_probable(probabilities, labels, 2)] == [[1, 2], [1, 0]]
    (first, *_), _ = most_probable(probabilities, labels, 9)
    assert first == (1, float(np.float32(0.6)))
    assert [len(one) for one in most_probable(probabilities, labels, 9)] == [3, 3]
    assert [len(one) for one in most_probable(probabilities, labels, 1)] == [1, 1]
    assert probabilities[0, 1] == np.float32(0.6)  # it is not written to


def answer(file: str, **values: object) -> FileAnswer:
    """One answer, ``a`` at 0.5."""
    top = (LabelProbability("a", 0.5), LabelProbability("b, c", 0.25))
    fields = {"confidence": 0.5, "exit": 1, "relative_cost": 0.125, "forced": False, "confusion": None}
    return FileAnswer(**{"file": file, "label": "a", **fields, "abstained": False, "top": top, **values})  # type: ignore[arg-type]  # they are of its types


def rows(predictions: tuple[FileAnswer, ...], top: int) -> list[list[str]]:
    """What a reader makes of the values."""
    output = StringIO()
    classes = ("a", "b, c", "d")
    write_csv(FilePredictions("bundle", classes, predictions, (FailedFile("bad.png", "bad"),), None), output, top)
    assert "\r" not in output.getvalue()
    return list(csv.reader(StringIO(output.getvalue())))


HEADER = ["file", "label", "confidence", "exit", "relative_cost", "confusion", "forced", "abstained"]


def test_answers_are_lines_below_a_header() -> None:
    """What is not known is empty; names with commas, quotes and bytes that are no text are kept apart."""
    found = rows((answer('a "b", c.png', confusion=-1 / 3, forced=True), answer("d\udcff.png", abstained=True)), 1)
    assert found == [
        HEADER,
        ['a "b", c.png', "a", "0.5", "1", "0.125", "-0.3333333", "true", "false"],
        ["d\ufffd.png", "a", "0.5", "1", "0.125", "", "false", "true"],
    ]


def test_further_labels_and_all_probabilities_have_columns() -> None:
    """As many labels as were asked for, and then every class, in order."""
    found = rows((answer("e.png", probabilities=(0.5, 0.25, 0.25)),), 2)
    assert found == [
        [*HEADER, "label_2", "probability_2", "probability_a", "probability_b, c", "probability_d"],
        ["e.png", "a", "0.5", "1", "0.125", "", "false", "false", "b, c", "0.25", "0.5", "0.25", "0.25"],
    ]
    assert rows((), 5) == [[*HEADER, "label_2", "probability_2", "label_3", "probability_3"]]
