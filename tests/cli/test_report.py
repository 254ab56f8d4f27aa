"""The command `report`: a page and figures for runs and files, with and without images, labels and early exits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.cli.analyzed import JOINT, document, recorded, refused

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

FIGURES = ("overthinking", "confusion", "error-indicators")
NO_NUMBERS = re.compile(r"\b(nan|NaN|inf|undefined|None|null)\b")


def text_of(page: str) -> str:
    """What a reader sees, without scripts, styles and markup."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", bare)


def test_a_run_gets_a_page_and_figures(trained: Training, shell: Shell) -> None:
    """In the run, offline, with images; the document lists the files; a second time they are renewed."""
    trained("run", *JOINT)
    found = document(shell, "report", "run", "--trust", "--resamples", 50)
    assert found["report"] == "run/report.html"
    assert not Path("run/analysis.json").exists()
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert not re.search(r"""(src|href)\s*=\s*["']https?:""", page)
    assert not NO_NUMBERS.search(text_of(page))
    assert "azure" in text_of(page)
    for path in found["files"]:
        assert Path(path).stat().st_size > 0, path
    assert {"run/report-overthinking.png", "run/report-overthinking.svg"} <= set(found["files"])
    status, output, _ = shell("report", "run", "--trust", "--resamples", 0)
    assert status == 0
    assert "Open run/report.html in a browser" in output
    trained("run", *JOINT, "--overwrite")
    assert not list(Path("run").glob("report*"))


def test_a_run_without_images_still_gets_a_page(trained: Training, shell: Shell) -> None:
    """Answers without thumbnails, from predictions and statistics that are kept."""
    trained("run", *JOINT)
    document(shell, "analyze", "run", "--trust", "--resamples", 0)
    Path("images").rename("elsewhere")
    assert "which run was trained on, seen from" in refused(shell, "evaluate", "run", "--trust")
    document(shell, "report", "run", "--trust", "--resamples", 0)
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," not in page
    assert "images cannot be read any more" in page
    assert not NO_NUMBERS.search(text_of(page))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_file_gets_a_page_beside_it(shell: Shell, workplace: Path, labelled: bool) -> None:
    """Of its own images where it has them; without labels the label-free parts."""
    assert workplace
    change = {} if labelled else {"labels": None}
    path = recorded(images=np.full((40, 8, 8, 3), 128, np.uint8), **change)
    found = document(shell, "report", path, "--resamples", 20)
    assert found["report"] == "theirs.html"
    page = Path("theirs.html").read_text(encoding="utf-8")
    assert ("data:image/png;base64," in page) == labelled
    assert not NO_NUMBERS.search(text_of(page))
    assert ("No labels" in page) == (not labelled)


def test_plain_backbones_and_flawless_exits(trained: Training, shell: Shell) -> None:
    """A single exit, and no misclassification at all."""
    trained("run", "--recipe", "backbone", "--epochs", 1)
    document(shell, "report", "run", "--trust", "--resamples", 20)
    assert not NO_NUMBERS.search(text_of(Path("run/report.html").read_text(encoding="utf-8")))
    labels = np.arange(40) % 3
    path = recorded(labels=labels, logits=np.stack([9 * np.eye(3, dtype=np.float32)[labels]] * 3))
    document(shell, "report", path, "--resamples", 20)
    assert not NO_NUMBERS.search(text_of(Path("theirs.html").read_text(encoding="utf-8")))


def test_bad_input_is_told_in_one_line(shell: Shell, workplace: Path) -> None:
    """A file that is none, a folder that is no run."""
    assert workplace
    assert "nowhere.npz does not exist" in refused(shell, "report", "nowhere.npz")
    assert "Expected a saved network" in refused(shell, "report", "images")


@pytest.mark.parametrize(
    ("out", "page"), [("deep/er.html", "deep/er.html"), ("folder", "folder/report.html"), (".", "report.html")]
)
def test_a_page_goes_where_it_is_sent(shell: Shell, workplace: Path, out: str, page: str) -> None:
    """To the file named, or into a folder, made if need be, by its own name."""
    assert workplace
    assert json.loads(shell("report", recorded(), "--json", "--out", out)[1])["report"] == page
    assert Path(page).read_text(encoding="utf-8").startswith("<!doctype html>")
