"""A training from settings to a run: what it leaves, what it goes on with, and what it warns of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.made_run import TRUSTING
from tests.recorder import Recorder

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError, OutputError, UnknownNameError
from shallowdeep.files import exclusive, reading
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.workflows.train import train_run

SETTINGS = TrainConfig(data="images", model="tiny_nets:plain", recipe="backbone", epochs=1, batch_size=16)


def test_the_run_holds_its_settings_and_its_history(workplace: Path) -> None:
    """One record an epoch; the summary is that of the last."""
    trained = train_run(replace(SETTINGS, epochs=2), workplace / "run", context=TRUSTING)
    assert read_config(workplace / "run" / CONFIG) == trained.config
    assert [(record.phase, record.epoch) for record in trained.history] == [("backbone", 1), ("backbone", 2)]
    summary = trained.summary()
    assert (summary.dataset, summary.recipe, summary.epochs, len(summary.exits)) == ("images", "backbone", 2, 1)
    assert summary.exits[0].tune_accuracy == trained.history[-1].tune_accuracy[-1]
    assert summary.seconds == pytest.approx(sum(record.seconds for record in trained.history))


def test_a_finished_run_is_loaded_when_resumed(workplace: Path) -> None:
    """It says so, trains nothing, and gives the same weights; without `resume` it is refused."""
    first = train_run(SETTINGS, workplace / "run", context=TRUSTING)
    progress = Recorder()
    again = train_run(SETTINGS, workplace / "run", resume=True, context=RunContext(trust=True, progress=progress))
    assert progress.said == [f"{workplace / 'run'} was trained to the end before: nothing to do"]
    assert progress.bars == []
    assert again.network.weights == first.network.weights
    with pytest.raises(OutputError, match="--resume goes on with it, --overwrite replaces it"):
        train_run(SETTINGS, workplace / "run", context=TRUSTING)


def test_few_steps_from_random_weights_are_warned_of(workplace: Path) -> None:
    """54 images in batches of 16 are 3 steps; from an earlier run there is nothing to warn of."""
    progress = Recorder()
    context = RunContext(trust=True, progress=progress)
    train_run(SETTINGS, workplace / "start", context=context)
    assert [message for message in progress.said if message.startswith("Only 3 steps from random weights")]
    progress.said.clear()
    train_run(replace(SETTINGS, model="", recipe="ic-only", init="start"), workplace / "heads", context=context)
    assert not [message for message in progress.said if "random weights" in message]


def test_a_refusal_leaves_no_directory(workplace: Path) -> None:
    """Bad settings and missing data are told before anything is made."""
    with pytest.raises(ConfigurationError):
        train_run(replace(SETTINGS, epochs=-1), workplace / "run", context=TRUSTING)
    with pytest.raises(UnknownNameError, match="nowhere"):
        train_run(replace(SETTINGS, data="nowhere"), workplace / "run", context=TRUSTING)
    assert not (workplace / "run" / CONFIG).exists()


def test_data_that_moved_is_resumed_from_its_new_place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished run goes on where its data is now, and remembers that; other data is refused."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shallowdeep.training.run.write_network", stop)
        with pytest.raises(KeyboardInterrupt):
            train_run(SETTINGS, Path("run"), context=TRUSTING)
    assert read_config(Path("run") / CONFIG).data == str(workplace / "images")
    Path("images").rename("moved")
    with pytest.raises(ConfigurationError, match="split as run was trained on it"):
        train_run(replace(SETTINGS, data="others"), Path("run"), resume=True, context=TRUSTING)
    trained = train_run(replace(SETTINGS, data="moved"), Path("run"), resume=True, context=TRUSTING)
    assert trained.config.data == read_config(Path("run") / CONFIG).data == str(workplace / "moved")


def test_a_run_that_is_trained_into_is_not_started_from(workplace: Path) -> None:
    """Its weights may be replaced at any moment; several trainings may start from one run."""
    train_run(SETTINGS, Path("start"), context=TRUSTING)
    heads = replace(SETTINGS, model="", recipe="ic-only", init="start")
    with exclusive(Path("start")), pytest.raises(OutputError, match="another that is writing to it just now"):
        train_run(heads, Path("heads"), context=TRUSTING)
    with reading(Path("start")):
        train_run(heads, Path("heads"), context=TRUSTING)
    assert read_config(Path("heads") / CONFIG).init == str(workplace / "start")
