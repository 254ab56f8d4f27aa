"""Statistics of confusion belong to weights, are measured once, and a damaged file is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorder import Recorder

from shallowdeep.artifacts import CONFUSION_STATISTICS
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.errors import CheckpointError
from shallowdeep.runs.confusion_file import measured_statistics, read_statistics
from shallowdeep.runs.splits import own_splits


def test_they_are_measured_once(made_run: Path) -> None:
    """All training images the first time, none the second; other weights measure anew."""
    network = load(made_run, trust=True)
    progress = Recorder()
    context = RunContext(trust=True, progress=progress)
    splits = own_splits(made_run, network, context=context)
    splits.train.prepare()  # reading images has a bar of its own
    progress.bars.clear()
    first = measured_statistics(made_run, network, splits, weights="a", context=context)
    assert [(bar.what, bar.done) for bar in progress.bars] == [("measuring confusion (training images)", 30)]
    assert measured_statistics(made_run, network, splits, weights="a", context=context).to_dict() == first.to_dict()
    assert len(progress.bars) == 1
    assert read_statistics(made_run, "b") is None
    measured_statistics(made_run, network, splits, weights="b", context=context)
    assert len(progress.bars) == 2
    assert read_statistics(made_run, "a") is None


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"weights": "a", "samples": 3})])
def test_a_damaged_file_is_told(tmp_path: Path, content: str) -> None:
    """Cut off, of another shape, or without its numbers."""
    (tmp_path / CONFUSION_STATISTICS).write_text(content)
    with pytest.raises(CheckpointError, match="confusion"):
        read_statistics(tmp_path, "a")
