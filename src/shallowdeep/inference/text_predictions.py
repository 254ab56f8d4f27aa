"""Texts to answers, by a bundle's engine (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shallowdeep.data.text import TextPreprocessing, padded
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.inference.bundle import Bundle, preprocessing_of
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.file_predictions import FileAnswer, FilePredictions, gathered, numbered, told_of
from shallowdeep.progress import SILENT, Progress


class GivenText(NamedTuple):
    """A text to be answered.

    Attributes:
        name: where it stands.
        text: itself.
    """

    name: str
    text: str


def given_texts(texts: Sequence[str], file: Path | None) -> list[GivenText]:
    """Return texts, and a file's lines; empty lines are left out.

    Args:
        texts: given one by one.
        file: in UTF-8, a text a line; None for none.

    Raises:
        DataError: the file cannot be read, or there is no text.
    """
    found = [GivenText(f"text {number}", text) for number, text in enumerate(texts, 1) if text.strip()]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError) as error:
            raise DataError(f"Expected a file of lines in UTF-8 in {file}, got {error}") from error
        named = ((f"line {number} of {file.name}", line) for number, line in enumerate(lines, 1))
        found += [GivenText(name, line.strip()) for name, line in named if line.strip()]
    if not found:
        raise DataError("Expected at least one text, got none")
    return found


def predict_texts(
    bundle: Bundle,
    texts: Sequence[GivenText],
    *,
    batch_size: int = 64,
    threads: int | None = None,
    top: int = 1,
    probabilities: bool = False,
    progress: Progress = SILENT,
) -> FilePredictions:
    """Answer every text, those of a length together.

    Args:
        bundle: brings engine, tokenizer and class names.
        texts: in any order, which answers keep.
        batch_size: how many go through the engine together.
        threads: of the runtime; None for one a core.
        top: how many of the most probable classes to tell of each; where there are fewer, all.
        probabilities: tell those of all classes.
        progress: told how many texts are done, and how many were cut.

    Raises:
        ConfigurationError: a bundle of images.
        ModelError: tokenizers is not installed.
    """
    preprocessing = preprocessing_of(bundle)
    if not isinstance(preprocessing, TextPreprocessing):
        raise ConfigurationError(f"Expected a bundle of a text network for texts, got one of images in {bundle.path}")
    engine = EarlyExitEngine(bundle, threads=threads, confusion=bundle.confusion or False)
    tokens, cut = preprocessing.encode([one.text for one in texts])
    order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
    answers: dict[int, FileAnswer] = {}
    classes = bundle.classes
    with progress.start("predicting", "texts", len(texts)) as bar:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            found = engine(padded([tokens[place] for place in places]), probabilities=True)
            classes = classes or numbered(found)
            chosen = [texts[place] for place in places]
            told = told_of(
                found, [one.name for one in chosen], classes, top=top, probabilities=probabilities,
                texts=[one.text for one in chosen],
            )  # fmt: skip
            answers.update(zip(places, told, strict=True))
            bar.advance(len(places))
    if cut:
        what = "text was longer" if cut == 1 else f"of {len(texts):,} texts were longer"
        progress.say(f"{cut:,} {what} than {preprocessing.max_length} tokens and cut there")
    return gathered(bundle, classes, [answers[place] for place in range(len(texts))])
