"""A training from settings to a run: what it leaves, what it goes on with, and what it warns of."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.made_run import TRUSTING
from tests.recorder import Recorder

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError, OutputError, UnknownNameError, WeightsMismatchError
from shallowdeep.files import exclusive, reading
from shallowdeep.models.registry import build
from shallowdeep.models.weights import last_layer
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.runs.config_checks import checked
from shallowdeep.workflows.train import _class_order, train_run

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


def test_what_was_left_out_and_images_in_two_splits_are_told(workplace: Path) -> None:
    """Before anything is trained."""
    progress = Recorder()
    context = RunContext(trust=True, progress=progress)
    (workplace / "images" / "train" / "empty").mkdir()
    one = next((workplace / "images" / "test").rglob("*.png"))
    train = workplace / "images" / "train" / one.parent.name
    for image in train.iterdir():
        (one.parent / f"again-{image.name}").write_bytes(image.read_bytes())
    train_run(SETTINGS, workplace / "run", context=context)
    told = [message for message in progress.said if "left out" in message or "measured with" in message]
    assert told[0] == f"No images in {workplace}/images/train/empty: left out"
    assert re.match(r"Trained on and measured with: \d+ of test \(such as .*/again-.*\.png\)", told[1])


def test_weights_of_other_classes_begin_with_a_new_head(workplace: Path) -> None:
    """What was not taken as it stands in the file is told; without the option the message names it."""
    torch.manual_seed(0)
    other = build("tiny_nets:plain", num_classes=7, image_size=32)
    names = {f"module.{name}": tensor for name, tensor in other.state_dict().items()}
    torch.save({"state_dict": names}, workplace / "theirs.pth.tar")
    settings = replace(SETTINGS, weights="theirs.pth.tar")
    with pytest.raises(WeightsMismatchError, match=r"All but \S+ fits: --new-head starts that layer anew"):
        train_run(settings, workplace / "run", context=TRUSTING)
    progress = Recorder()
    settings = replace(settings, new_head=True, learning_rate=1e-9)
    trained = train_run(settings, workplace / "run", context=RunContext(trust=True, progress=progress))
    head = last_layer(other, 7)
    assert f"Weights in theirs.pth.tar: taken off: module.; new: {head}.bias, {head}.weight" in progress.said
    first = next(iter(other.state_dict()))
    assert torch.allclose(trained.network.backbone.state_dict()[first], other.state_dict()[first], atol=1e-6)


def test_a_new_head_wants_weights_and_is_no_trained_network() -> None:
    """Two refusals, in one line each."""
    with pytest.raises(ConfigurationError, match="Expected --weights beside --new-head, got none"):
        checked(replace(SETTINGS, new_head=True))
    with pytest.raises(ConfigurationError, match="got one whose last layer is new"):
        checked(replace(SETTINGS, new_head=True, weights="w.pth", recipe="ic-only"))


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


def test_numbered_classes_are_warned_of() -> None:
    """Libraries differ in their order; names without numbers are in the same order everywhere."""
    told = _class_order(("1", "10", "2"))
    assert told is not None
    assert told.startswith("Classes are numbered 1, 10, 2 ..., as torchvision numbers folders")
    assert "timm's reader numbers them 1, 2, 10" in told
    assert _class_order(("cat", "dog", "emu")) is None
    assert _class_order(("class01", "class02", "class10")) is None
