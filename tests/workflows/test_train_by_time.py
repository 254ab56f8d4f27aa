"""Trainings whose exits stand by measured time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shallowdeep.artifacts import PLACEMENT, TRAINING_STATE
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.errors import TrainingError
from shallowdeep.progress import Silent
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.placement import read_placement
from shallowdeep.workflows import train as module
from shallowdeep.workflows.train import train_run

pytest.importorskip("openvino")

from shallowdeep.bench import exit_times
from shallowdeep.bench.exit_times import CutTimes, HeadTimes

CONFIG = TrainConfig(
    data="images", model="resnet20", recipe="best", fractions=(0.55, 0.75), epochs=2, batch_size=16,
    calibration_fraction=0.5, image_size=16, place_by="time", timed_heads=True, time_on="openvino:f32",
)  # fmt: skip
NAMES = ["blocks.1", "blocks.5", "final"]  # by MACs they would stand after blocks 4 and 6


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was measured, with times made up: half of the time in the stem."""
    made: list[str] = []

    def cuts(_: object, __: object, places: Sequence[object], **settings: object) -> CutTimes:
        made.append(f"cuts {settings['precision']} {settings['batch_size']}")
        return CutTimes(tuple(0.5 + 0.4 * number / len(places) for number in range(len(places))), 1.0)

    def heads(_: object, __: object, ___: object, kinds: Sequence[Sequence[str]], **settings: object) -> HeadTimes:
        made.append(f"heads {settings['precision']} {settings['batch_size']}")
        return HeadTimes(tuple(tuple(0.02 if kind == "mean" else 0.04 for kind in beside) for beside in kinds), 1.0)

    monkeypatch.setattr(exit_times, "cut_times", cuts)
    monkeypatch.setattr(exit_times, "head_times", heads)
    return made


def names(run: str) -> list[str]:
    """Where the exits of a finished run stand."""
    return [exit_.name for exit_ in read_manifest(run).exits]


@pytest.mark.usefixtures("workplace")
def test_a_run_has_its_exits_where_times_put_them(measurements: list[str]) -> None:
    """It records them, and loads again without a measurement; one by MACs in its place keeps no record."""
    train_run(CONFIG, Path("run"), context=RunContext())
    assert measurements == ["cuts f32 64", "heads f32 64"]
    assert names("run") == NAMES
    exits = read_manifest("run").exits
    assert [(exit_.head, exit_.fraction) for exit_ in exits[:-1]] == [("mean", 0.55), ("mean", 0.75)]
    placement = read_placement(Path("run"))
    assert placement is not None
    assert list(placement.at) == [exit_.cut for exit_ in exits[:-1]]
    assert len(load("run").exits) == 3
    plain = TrainConfig("images", "resnet20", epochs=1, image_size=16, fractions=(0.5,), calibration_fraction=0.5)
    train_run(plain, Path("run"), overwrite=True, context=RunContext())
    assert not (Path("run") / PLACEMENT).exists()
    assert len(measurements) == 2


class CutsOff(Silent):
    """Ends a training when it tells something that holds ``words``."""

    def __init__(self, words: str) -> None:
        self.words = words

    def say(self, message: str) -> None:
        """End it, or ignore."""
        if self.words in message:
            raise TrainingError("cut off")


@pytest.mark.usefixtures("workplace")
def test_a_run_that_goes_on_measures_nothing_again(measurements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after its first epoch it keeps its exits, whatever is installed by then."""
    with pytest.raises(TrainingError):
        train_run(CONFIG, Path("run"), context=RunContext(progress=CutsOff("epoch 1/2")))
    assert (Path("run") / TRAINING_STATE).exists()
    monkeypatch.setattr(module, "target_of", None)
    found = train_run(CONFIG, Path("run"), resume=True, context=RunContext())
    assert measurements == ["cuts f32 64", "heads f32 64"]
    assert names("run") == NAMES
    assert len(found.history) == 2


@pytest.mark.usefixtures("workplace")
def test_a_run_cut_off_before_its_first_step_keeps_its_exits(
    measurements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written before anything is trained."""

    def cut_off(*_: object) -> None:
        raise TrainingError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", cut_off)
        with pytest.raises(TrainingError):
            train_run(CONFIG, Path("run"), context=RunContext())
    assert not (Path("run") / TRAINING_STATE).exists()
    train_run(CONFIG, Path("run"), resume=True, context=RunContext())
    assert len(measurements) == 2
    assert names("run") == NAMES
