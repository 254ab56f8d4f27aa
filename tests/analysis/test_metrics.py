"""The accumulating metrics against the functions on all samples together."""

from __future__ import annotations

import json
import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from shallowdeep.analysis.confusion_levels import confusion_levels
from shallowdeep.analysis.metrics import Confusion, Overthinking
from shallowdeep.analysis.overthinking import destructive, wasteful
from shallowdeep.errors import DataError
from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.predictions import ExitPredictions

COSTS = [0.2, 0.6, 1.1]
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(3, 90, 4)).astype(np.float32)
LABELS = GENERATOR.integers(0, 4, 90)


def test_overthinking_over_batches_is_that_of_all() -> None:
    """Three uneven batches, then the same after a reset."""
    metric = Overthinking(COSTS)
    pred = ExitPredictions(LOGITS, LABELS, np.asarray(COSTS))
    waste, lost = wasteful(pred, 0), destructive(pred, 0)
    assert waste is not None
    assert lost is not None
    for _ in range(2):
        metric.reset()
        for rows in (slice(0, 1), slice(1, 50), slice(50, 90)):
            metric.update(torch.from_numpy(LOGITS[:, rows]), torch.from_numpy(LABELS[rows]))
        found = {name: float(value) for name, value in metric.compute().items()}
        assert found == pytest.approx({
            "wasteful": waste.share, "wasteful_and_right": waste.and_final_right,
            "oracle_cost": waste.oracle_cost, "oracle_accuracy": waste.oracle_accuracy,
            "accuracy": float((LOGITS[-1].argmax(-1) == LABELS).mean()),
            "destructive": lost.share_of_errors, "accuracy_gain": lost.accuracy_gain,
        })  # fmt: skip


@pytest.mark.parametrize("normalised", [False, True])
def test_confusion_over_batches_is_that_of_all(normalised: bool) -> None:
    """Means of right and wrong answers, as they are and z-scored."""
    statistics = ConfusionStatistics.over([LOGITS[:, :40]]) if normalised else None
    metric = Confusion(3, statistics)
    for rows in (slice(0, 33), slice(33, 90)):
        metric.update(torch.from_numpy(LOGITS[:, rows]), torch.from_numpy(LABELS[rows]))
    found = metric.compute()
    levels = confusion_levels(LOGITS, LOGITS[-1].argmax(-1) == LABELS, statistics)
    assert levels is not None
    for name in ("mean", "right_mean", "wrong_mean"):
        assert float(found[name]) == pytest.approx(getattr(levels, name), abs=1e-5)


def _half(rank: int, folder: str) -> None:
    """One of two processes: counts its half, and writes what both together give."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    rows = (slice(0, 30), slice(30, 90))[rank]
    for metric in (Overthinking(COSTS), Confusion(3)):
        metric.update(torch.from_numpy(LOGITS[:, rows]), torch.from_numpy(LABELS[rows]))
        found = {name: float(value) for name, value in metric.compute().items()}
        Path(folder, f"{type(metric).__name__}-{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_count_as_one(tmp_path: Path) -> None:
    """Each has seen a part, both give the figures of all, standard deviations among them."""
    context = multiprocessing.get_context("fork")
    halves = [context.Process(target=_half, args=(rank, str(tmp_path))) for rank in range(2)]
    for half in halves:
        half.start()
    for half in halves:
        half.join(60)
        assert half.exitcode == 0
    for metric in (Overthinking(COSTS), Confusion(3)):
        metric.update(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
        expected = {name: float(value) for name, value in metric.compute().items()}
        for rank in range(2):
            got = json.loads((tmp_path / f"{type(metric).__name__}-{rank}.json").read_text())
            assert got == pytest.approx(expected)


def test_spreads_are_standard_deviations() -> None:
    """Of confusion among right and among wrong answers."""
    metric = Confusion(3)
    metric.update(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
    values, right = confusion(LOGITS), LOGITS[-1].argmax(-1) == LABELS
    found = metric.compute()
    assert float(found["right_std"]) == pytest.approx(values[right].std(), abs=1e-4)
    assert float(found["wrong_std"]) == pytest.approx(values[~right].std(), abs=1e-4)


def test_without_errors_there_is_no_share_of_them() -> None:
    """Not a number, as torchmetrics has it for means of nothing."""
    metric = Overthinking([0.5, 1.0])
    metric.update(torch.eye(2).expand(2, 2, 2), torch.tensor([0, 1]))
    found = metric.compute()
    assert math.isnan(float(found["destructive"]))
    assert float(found["accuracy"]) == 1.0


def test_other_shapes_are_refused() -> None:
    """Of logits, labels and statistics."""
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    for metric in (Overthinking(COSTS), Confusion(3)):
        with pytest.raises(DataError, match=r"Expected logits \(3, B, C\)"):
            metric.update(logits[:2], labels)
        with pytest.raises(DataError, match=r"labels \(B,\)"):
            metric.update(logits, labels[:5])
    with pytest.raises(DataError, match="of 4 exits, got 3"):
        Confusion(4, ConfusionStatistics.over([LOGITS]))
