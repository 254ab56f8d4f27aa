"""A run opened for an audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shallowdeep.context import RunContext
from shallowdeep.errors import DataError
from shallowdeep.runs.confusion_file import read_statistics
from shallowdeep.runs.opened_run import open_run

if TYPE_CHECKING:
    from tests.conftest import Training


def test_it_predicts_and_scores_its_own_images(made_run: Path) -> None:
    """Predictions of every exit; confusion in standard deviations of that on training images, which the run keeps."""
    opened = open_run(made_run, RunContext(trust=True))
    pred = opened.predicted(opened.splits.test)
    assert (pred.exits, pred.samples) == (3, 12)
    kept = read_statistics(made_run, opened.network.weights)
    assert kept is not None
    assert kept.to_dict() == opened.statistics.to_dict()
    on_training = opened.confusion(opened.predicted(opened.splits.train))
    assert float(np.mean(on_training)) == pytest.approx(0, abs=0.02)
    assert float(np.std(on_training)) == pytest.approx(1, abs=0.05)


def test_a_plain_backbone_is_refused(trained: Training, workplace: Path) -> None:
    """An audit looks at exits; the message says how to get some."""
    trained("plain", "--recipe", "backbone", "--epochs", 1)
    with pytest.raises(DataError, match=r"has none; shallowdeep train --recipe ic-only --init"):
        open_run(workplace / "plain", RunContext(trust=True))


def test_broken_images_are_left_out_or_refused(made_run: Path) -> None:
    """Of test, tune and certify the readable images remain, where that was asked for."""
    (made_run / "data.json").unlink()  # as in runs made before images were fingerprinted
    min(Path("images/test/azure").iterdir()).write_bytes(b"no image")
    strict = open_run(made_run, RunContext(trust=True))
    with pytest.raises(DataError, match="azure"):
        strict.predicted(strict.splits.test)
    assert len(open_run(made_run, RunContext(trust=True, skip_bad_images=True)).splits.test) == 11
