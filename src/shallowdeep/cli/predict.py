"""``shallowdeep predict``."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that --help answers at once
from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType

from shallowdeep.cli.options import AsJson
from shallowdeep.cli.terminal import notes, show
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.inference.file_predictions import FilePredictions

SOME_FAILED = 1
TABLE_ROWS = 50
_SHOWN = 70  # characters of a text


def predict(
    bundle: Annotated[Path, typer.Argument(help="Directory that `export` wrote.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files, or folders of them.")] = None,
    *,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text, for a network of text; repeatable.")] = None,
    text_file: Annotated[Path | None, typer.Option(help="A file with a text a line.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable labels to tell.")] = 1,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Tell the probabilities of all classes, at the exit that answers.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the runtime. (default: one a core)")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images. (default: one a core)")
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line an image on standard output, comma-separated.")] = False,
) -> None:
    """Label images or texts, each with no more work than it needs."""
    if as_json and as_csv:
        raise ConfigurationError("Expected --json or --csv, got both")
    from shallowdeep.data.text import TextPreprocessing
    from shallowdeep.inference.bundle import read_bundle
    from shallowdeep.inference.file_predictions import predict_files
    from shallowdeep.inference.prediction import find_images
    from shallowdeep.inference.text_predictions import given_texts, predict_texts

    opened = read_bundle(bundle)
    reads_text = isinstance(opened.preprocessing, TextPreprocessing)
    _check_given(bundle, images or [], bool(text) or text_file is not None, reads_text=reads_text)
    told = sys.maxsize if probabilities and not (as_json or as_csv) else top  # a table has all, best first
    empty: list[Path] = []
    with TerminalProgress() as progress:
        if reads_text:
            results = predict_texts(
                opened, given_texts(text or [], text_file), batch_size=batch_size, threads=threads, top=told,
                probabilities=probabilities, progress=progress,
            )  # fmt: skip
        else:
            files, empty = find_images(images or [])
            results = predict_files(
                opened, files, batch_size=batch_size, threads=threads, workers=workers, top=told,
                probabilities=probabilities, progress=progress,
            )  # fmt: skip
    if as_csv:
        from shallowdeep.inference.prediction_csv import write_csv

        write_csv(results, sys.stdout, top)
    else:
        show(results, _readable(results), as_json=as_json)
    for folder in empty:
        notes().print(f"No image in {folder}", soft_wrap=True)
    if results.withdrawn is not None:
        notes().print(results.withdrawn, soft_wrap=True)
    for failure in results.failed:
        notes().print(failure.error, soft_wrap=True)
    if results.failed:
        raise typer.Exit(SOME_FAILED)


def _check_given(bundle: Path, images: list[Path], texts: bool, *, reads_text: bool) -> None:
    """Refuse images for a network of text, the reverse, and nothing at all."""
    if reads_text and images:
        raise ConfigurationError(f"Expected --text or --text-file for the text network in {bundle}, got {images[0]}")
    if texts and not reads_text:
        raise ConfigurationError(f"Expected images for the network in {bundle}, got texts")
    if not images and not texts:
        what = "--text or --text-file" if reads_text else "image files, or folders of them,"
        raise ConfigurationError(f"Expected {what} to answer, got nothing")


def _readable(results: FilePredictions) -> RenderableType:
    from shallowdeep.report.tables import plain_table

    answers, cost = results.predictions, results.mean_relative_cost
    if cost is None:
        return "No image could be answered."
    texts = answers[0].text is not None
    several = any(len(answer.top) > 1 for answer in answers)
    rows = [
        (
            answer.file if answer.text is None else _cut(answer.text),
            f"({answer.label}?)" if answer.abstained else answer.label,
            f"{answer.confidence:.3f}",
            answer.exit,
            f"{answer.relative_cost:.3f}{' (limit)' if answer.forced else ''}",
            None if answer.confusion is None else f"{answer.confusion:+.2f}",
            *(["\n".join(f"{one.label} {one.probability:.3f}" for one in answer.top)] if several else []),
        )
        for answer in answers[:TABLE_ROWS]
    ]
    columns = [
        "text" if texts else "file",
        "label",
        "confidence",
        "exit",
        "cost",
        "confusion",
        *(["probabilities"] if several else []),
    ]
    parts: list[RenderableType] = [plain_table("", columns, rows)]
    if len(answers) > TABLE_ROWS:
        parts.append(f"... and {len(answers) - TABLE_ROWS:,} more; --json and --csv give all")
    withheld = sum(answer.abstained for answer in answers)
    if withheld:
        parts.append(f"Abstained from {withheld:,}: labels in brackets are too doubtful to be used")
    what = "text" if texts else "image"
    images = f"1 {what}" if len(answers) == 1 else f"{len(answers):,} {what}s"
    promised = "nothing is promised" if results.promise is None else "with a promise"
    parts.append(f"{images} at a mean relative cost of {cost:.3f} in {results.runtime}, {promised}")
    return Group(*parts)


def _cut(text: str) -> str:
    """A text in one line of a table."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
