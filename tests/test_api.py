"""The whole road from Python, on models and loaders of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.recorder import Recorder
from tests.synthetic import pool
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import shallowdeep
from shallowdeep.errors import CheckpointError, ConfigurationError, DataError, OutputError, UnknownNameError
from shallowdeep.exits.choice import ByBudget, ByLoss
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.sdn.internal_classifier import DEEP, POOLED
from shallowdeep.training.history import History

SHAPE = (3, 12, 16)  # not square


def model() -> nn.Sequential:
    """A classifier of three classes with BatchNorm and dropout."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 8, 1), (8, 8, 2), (8, 8, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy images of three classes, each brightest in one channel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randn(count, *SHAPE, generator=generator)
    pixels[torch.arange(count), labels] += 0.7
    return pixels, labels


def loader(count: int = 48, *, shuffle: bool = True, seed: int = 0) -> DataLoader[tuple[Tensor, ...]]:
    """A data loader as users have them."""
    return DataLoader(TensorDataset(*images(count, seed)), batch_size=16, shuffle=shuffle)


def converted(recipe: str = "joint") -> shallowdeep.ShallowDeepNetwork:
    """A network with two internal classifiers, always the same."""
    torch.manual_seed(0)
    fractions = None if recipe == "backbone" else (0.3, 0.7)
    return shallowdeep.convert(model(), torch.zeros(1, *SHAPE), recipe=recipe, fractions=fractions)


def fitted(network: shallowdeep.ShallowDeepNetwork, **settings: Any) -> History:  # noqa: ANN401 - of fit
    """The history of two epochs on a shuffled loader, in silence."""
    return shallowdeep.fit(network, loader(), **{"epochs": 2, "progress": False, "learning_rate": 0.01, **settings})


def test_the_whole_road(tmp_path: Path) -> None:
    """Converted, trained, calibrated with a promise, analyzed, saved, exported, and answered by the bundle's engine."""
    network = converted()
    history = fitted(network, epochs=4, tune_loader=loader(30, shuffle=False, seed=1))
    assert [record.epoch for record in history] == [1, 2, 3, 4]
    assert len(history[-1].tune_accuracy) == 3
    assert not network.training
    predictions = shallowdeep.predict_exits(network, loader(900, shuffle=False, seed=2), progress=False)
    assert (predictions.exits, predictions.samples, predictions.backend) == (3, 900, "torch")
    policy = shallowdeep.calibrate(predictions, max_accuracy_loss=0.05)
    assert policy.promise is not None
    assert policy.promise.samples == 600
    findings = shallowdeep.analyze(predictions, resamples=0, class_names=("red", "green", "blue"))
    assert json.loads(findings.to_json())["classes"] == ["red", "green", "blue"]
    network.save(tmp_path / "net")
    again = shallowdeep.load(tmp_path / "net", backbone=model())
    x, _ = images(40, seed=3)
    torch.testing.assert_close(again(x), network(x))  # other memory formats round otherwise
    bundle = shallowdeep.export(network, policy, tmp_path / "bundle")
    assert (bundle.preprocessing, bundle.input_shape, bundle.weights) == (None, SHAPE, again.weights)
    expected = shallowdeep.decide(policy, network(x).detach())
    for engine in (
        shallowdeep.EarlyExitEngine.from_bundle(tmp_path / "bundle"),
        shallowdeep.EarlyExitEngine.from_network(again, policy),
    ):
        answers = engine(x)
        assert np.asarray(answers.labels).tolist() == expected.labels.tolist()
        assert np.asarray(answers.exits).tolist() == expected.exits.tolist()
        with pytest.raises(DataError, match=r"Expected images of shape \(N, 3, 12, 16\), got \(40, 3, 12, 12\)"):
            engine(x[..., :12])


@pytest.mark.parametrize("recipe", ["backbone", "ic-only", "joint", "mixed", "best"])
def test_every_recipe_trains_what_it_says(recipe: str) -> None:
    """`ic-only` leaves the backbone as it is, bit for bit; the others change it; `best` takes deeper heads."""
    network = converted(recipe)
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    history = fitted(network, recipe=recipe)
    after = network.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) == (recipe == "ic-only")
    assert {record.phase for record in history} == ({"backbone", "joint"} if recipe == "mixed" else {recipe})
    kinds = {exit_.head for exit_ in network.exits[:-1]}  # a deep head that would be too large is a pooled one
    assert (DEEP in kinds, POOLED in kinds) == (recipe == "best", recipe != "backbone")


def test_mixed_on_a_trained_backbone_is_one_phase() -> None:
    """What is trained already needs no first phase."""
    assert [record.phase for record in fitted(converted(), recipe="mixed", trained=True)] == ["joint", "joint"]


def test_a_training_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """Interrupted in the second epoch and called again, it gives the weights of an uninterrupted one, bit for bit."""

    class Interrupting:
        def __init__(self) -> None:
            self.loader, self.batches = loader(), 0

        def __len__(self) -> int:
            return len(self.loader)

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in self.loader:
                self.batches += 1
                if self.batches == 5:
                    raise KeyboardInterrupt
                yield batch[0], batch[1]

    settings: dict[str, Any] = {"epochs": 3, "progress": False, "directory": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        shallowdeep.fit(converted(), Interrupting(), **settings)
    resumed, whole = converted(), converted()
    torch.manual_seed(1234)  # what happened before does not matter
    history = shallowdeep.fit(resumed, loader(), **settings)
    assert [record.epoch for record in history] == [1, 2, 3]
    shallowdeep.fit(whole, loader(), epochs=3, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_training_is_loaded_and_others_are_refused(tmp_path: Path) -> None:
    """Called again it takes the weights; other settings and other folders are told."""
    network, again = converted(), converted()
    progress = Recorder()
    fitted(network, directory=tmp_path / "run")
    history = fitted(again, directory=tmp_path / "run", progress=progress)
    assert [record.epoch for record in history] == [1, 2]
    assert progress.said == [f"{tmp_path / 'run'} was trained to the end before: nothing to do"]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    assert again.weights == network.weights != ""
    with pytest.raises(ConfigurationError, match="Expected the settings of the training in"):
        fitted(converted(), directory=tmp_path / "run", epochs=3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds files but no fit\.json"):
        fitted(converted(), directory=tmp_path / "other")


def test_loaders_of_any_kind() -> None:
    """A list will do, with or without a length; an iterator gives one pass and is refused; so is what is no batch."""
    batches = [images(16, seed) for seed in range(3)]

    class Endless:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(batches)

    one, other = converted(), converted()
    shallowdeep.fit(one, batches, epochs=1, progress=False)
    shallowdeep.fit(other, Endless(), epochs=1, progress=False)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    with pytest.raises(ConfigurationError, match=r"train_loader that can be iterated over .* got a list_iterator"):
        shallowdeep.fit(one, iter(batches), epochs=1, progress=False)
    with pytest.raises(ConfigurationError, match=r"train_loader that can be iterated over again .* got a generator"):
        shallowdeep.fit(one, (batch for batch in batches), epochs=1, progress=False)
    with pytest.raises(DataError, match=r"Expected batches of \(images, labels\), two tensors, got a Tensor"):
        shallowdeep.fit(one, [batches[0][0]], epochs=1, progress=False)  # type: ignore[list-item]
    with pytest.raises(DataError, match="Expected at least one batch to train on, got none"):
        shallowdeep.fit(one, [], epochs=1, progress=False)


def test_progress_is_drawn_told_or_kept_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """On by default, off by argument, or to an object of one's own; a function works for one release more."""
    progress = Recorder()
    network = converted()
    fitted(network, progress=progress)
    assert [(bar.what, bar.total, bar.done, bar.finished) for bar in progress.bars] == [("joint (steps)", 6, 6, True)]
    assert [line.split("  loss ")[0] for line in progress.said] == ["joint epoch 1/2", "joint epoch 2/2"]
    assert capsys.readouterr().err == ""
    fitted(network, progress=True)
    assert "joint epoch 2/2  loss" in capsys.readouterr().err
    seen: list[int] = []
    with pytest.warns(DeprecationWarning, match="Expected a Progress, got a function"):
        shallowdeep.predict_exits(network, loader(20), progress=seen.append)
    assert seen == [16, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "jiont"}, "Expected the name of a recipe, got 'jiont'; nearest: joint"),
        ({"epochs": 0}, "Expected epochs of at least 1, got 0"),
        ({"recipe": "mixed", "epochs": 1}, "Expected at least 2 epochs for the recipe 'mixed', got 1"),
        ({"recipe": "ic-only", "distillation": 0.5}, "Expected a recipe that trains everything beside"),
        ({"optimizer": "sdg"}, "Expected the name of an optimizer, got 'sdg'"),
        ({"learning_rate": -1.0}, r"Expected a learning rate in \(0, 1e\+06\], got -1"),
        ({"precision": "fp8"}, "Expected precision to be one of auto, fp32, bf16, got 'fp8'"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], message: str) -> None:
    """One line each, before anything is trained."""
    with pytest.raises((ConfigurationError, UnknownNameError), match=message):
        fitted(converted(), **settings)


def test_recipes_and_networks_go_together() -> None:
    """A plain backbone cannot be trained jointly; options of exits do not apply to it."""
    with pytest.raises(ConfigurationError, match="Expected a network with internal classifiers for 'joint'"):
        fitted(converted("backbone"))
    with pytest.raises(ConfigurationError, match="Expected no options of exits for the recipe 'backbone'"):
        shallowdeep.convert(model(), torch.zeros(1, *SHAPE), recipe="backbone", fractions=(0.5,))


def tune_samples(policy: shallowdeep.Policy) -> int:
    """Samples that a policy was chosen on."""
    assert policy.found is not None
    assert isinstance(policy.found.rule, ByBudget | ByLoss)
    return policy.found.rule.samples


def test_calibration_cuts_by_seed_or_takes_certify() -> None:
    """A third chooses and two thirds decide, by seed; with certify of one's own all choose."""
    predictions = pool(1200)
    one = shallowdeep.calibrate(predictions, max_accuracy_loss=0.05)
    assert one.promise is not None
    assert (tune_samples(one), one.promise.samples) == (400, 800)
    assert shallowdeep.calibrate(predictions, max_accuracy_loss=0.05) == one
    assert tune_samples(shallowdeep.calibrate(predictions, budget=0.5)) == 400
    own = shallowdeep.calibrate(predictions, max_accuracy_loss=0.05, certify=pool(900, seed=1))
    assert own.promise is not None
    assert (tune_samples(own), own.promise.samples) == (1200, 900)
    with pytest.raises(ConfigurationError, match="Expected one of threshold, budget, max_accuracy_loss, got none"):
        shallowdeep.calibrate(predictions)
    with pytest.raises(ConfigurationError, match="got threshold and budget"):
        shallowdeep.calibrate(predictions, threshold=0.5, budget=0.5)
    with pytest.raises(ConfigurationError, match=r"Expected at least .* certify samples to promise"):
        shallowdeep.calibrate(pool(90), max_accuracy_loss=0.01)
    other = ExitPredictions(predictions.logits, predictions.labels, predictions.costs, weights="ab" * 32)
    with pytest.raises(ConfigurationError, match="tune and certify predictions of one network, got two networks'"):
        shallowdeep.calibrate(predictions, budget=0.5, certify=other)
    alone = ExitPredictions(predictions.logits[-1:], predictions.labels, np.ones(1))
    with pytest.raises(ConfigurationError, match="Expected predictions of internal classifiers too"):
        shallowdeep.calibrate(alone, budget=0.5)


def test_policies_remember_the_weights_they_were_made_for(tmp_path: Path) -> None:
    """From the network's file through predictions and policy to the bundle; other weights are refused."""
    network = converted()
    network.save(tmp_path / "net")
    predictions = shallowdeep.predict_exits(network, loader(60), progress=False)
    policy = shallowdeep.calibrate(predictions, threshold=0.6)
    assert policy.weights == predictions.weights == network.weights != ""
    shallowdeep.export(network, policy, tmp_path / "bundle", static=False)
    other = converted()
    torch.nn.init.zeros_(other.internal_classifiers[0].get_parameter("linear.weight"))
    other.save(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="Expected a policy for the weights"):
        shallowdeep.export(other, policy, tmp_path / "refused")
    fitted(network)
    assert network.weights == ""


def test_bundles_without_preprocessing_take_arrays_and_no_files(tmp_path: Path) -> None:
    """`predict` on image files says what is missing."""
    from shallowdeep.inference.file_predictions import predict_files  # noqa: PLC0415 - the command's, not the API's

    bundle = shallowdeep.export(converted(), shallowdeep.Policy((0.9, 0.9)), tmp_path / "bundle", static=False)
    with pytest.raises(ConfigurationError, match=r"set network\.preprocessing before export"):
        predict_files(bundle, [tmp_path / "photo.jpg"])


def test_a_network_made_from_an_object_asks_for_it(tmp_path: Path) -> None:
    """No file can name an object."""
    converted().save(tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"backbone=\.\.\.\): this network was built from an object"):
        shallowdeep.load(tmp_path / "net")
