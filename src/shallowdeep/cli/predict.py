"""``shallowdeep predict``."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shallowdeep.cli.options import AsJson
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress

SOME_FAILED = 1
TABLE_ROWS = 50


def predict(
    bundle: Annotated[Path, typer.Argument(help="Directory that `export` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    *,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the runtime. (default: one a core)")] = None,
    as_json: AsJson = False,
) -> None:
    """Label images, each with no more work than it needs."""
    from shallowdeep.inference.bundle import read_bundle
    from shallowdeep.inference.file_predictions import find_images, predict_files

    opened = read_bundle(bundle)
    files, empty = find_images(images)
    with TerminalProgress() as progress:
        results = predict_files(opened, files, batch_size=batch_size, threads=threads, progress=progress)
    costs = [answer["relative_cost"] for answer in results.answered]
    document: dict[str, Any] = {
        "bundle": str(bundle),
        "predictions": results.answered,
        "failed": results.failed,
        "mean_relative_cost": sum(costs) / len(costs) if costs else None,
    }
    show(document, _readable(document), as_json=as_json)
    for folder in empty:
        notes().print(f"No image in {folder}", soft_wrap=True)
    for failure in results.failed:
        notes().print(f"{failure['error']}", soft_wrap=True)
    if results.failed:
        raise typer.Exit(SOME_FAILED)


def _readable(document: dict[str, Any]) -> Any:  # noqa: ANN401 - a rich renderable
    from rich.console import Group

    from shallowdeep.report.tables import plain_table

    answers = document["predictions"]
    rows = [
        (
            a["file"],
            f"({a['label']}?)" if a["abstained"] else a["label"],
            f"{a['confidence']:.3f}",
            a["exit"],
            f"{a['relative_cost']:.3f}{' (limit)' if a['forced'] else ''}",
            None if a["confusion"] is None else f"{a['confusion']:+.2f}",
        )
        for a in answers[:TABLE_ROWS]
    ]
    if not answers:
        return "No image could be answered."
    parts: list[Any] = [plain_table("", ["file", "label", "confidence", "exit", "cost", "confusion"], rows)]
    if len(answers) > TABLE_ROWS:
        parts.append(f"... and {len(answers) - TABLE_ROWS:,} more; --json gives all")
    withheld = sum(a["abstained"] for a in answers)
    if withheld:
        parts.append(f"Abstained from {withheld:,}: labels in brackets are too doubtful to be used")
    images = "1 image" if len(answers) == 1 else f"{len(answers):,} images"
    parts.append(f"{images} at a mean relative cost of {document['mean_relative_cost']:.3f}")
    return Group(*parts)
