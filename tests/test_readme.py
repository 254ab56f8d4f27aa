"""The front page: short, and its Python road runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
LINES, COLUMNS, ROAD = 100, 130, 20


def road() -> str:
    """The Python block."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return str(block)


def test_it_can_be_read_to_its_end() -> None:
    """At most 100 lines of 130 characters; one table of four rows; the road in 20 lines."""
    lines = README.read_text().splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    tables = [line for line in lines if line.startswith("|") and not line.startswith(("|---", "| training recipe"))]
    assert len(tables) == 4
    assert len([line for line in road().splitlines() if line]) <= ROAD


def test_the_road_is_the_same_everywhere() -> None:
    """README, documentation and the example that mypy checks do not drift apart."""
    assert (ROOT / "examples/road.py").read_text().split('"""\n\n')[1] == road()
    assert road() in (ROOT / "docs/getting-started.md").read_text()


def test_its_links_lead_somewhere() -> None:
    """Every relative link is a file of the repository."""
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    relative = [link for link in links if "://" not in link]
    assert relative
    assert [link for link in relative if not (ROOT / link).exists()] == []


def test_the_road_from_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word; the network has learned, and the bundle's engine answers as the policy decides."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)  # of the network's first weights
    names: dict[str, object] = {}
    exec(compile(road(), str(README), "exec"), names)  # noqa: S102 - the README's own code
    answers, labels = names["answers"], names["labels"]
    assert (np.asarray(answers.labels) == np.asarray(labels)).mean() > 0.85  # type: ignore[attr-defined]
    assert len(set(np.asarray(answers.exits).tolist())) > 1  # type: ignore[attr-defined]
