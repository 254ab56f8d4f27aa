"""Presets are the paper's; optimisers are what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.training.hyperparameters import BACKBONE, EVERYTHING, HEADS, Steps, hyperparameters
from shallowdeep.training.optimization import build_optimizer, set_learning_rate
from shallowdeep.training.recipes import RECIPES, Choices, PhasePlan, Recipe, Start, plan_phases, recipe_called


@pytest.mark.parametrize(
    ("model", "decay"), [("vgg16", 5e-4), ("wideresnet32_4", 5e-4), ("resnet56", 1e-4), ("mobilenet", 1e-4)]
)
@pytest.mark.parametrize("recipe", [BACKBONE, EVERYTHING])
def test_the_paper_trains_100_epochs_of_sgd(recipe: str, model: str, decay: float) -> None:
    """The paper preset: SGD .1, momentum .9, batch 128, its weight decay on every parameter, steps at 35/60/85 %."""
    chosen = hyperparameters(recipe, model, "paper")
    assert (chosen.epochs, chosen.batch_size, chosen.optimizer) == (100, 128, "sgd")
    assert (chosen.learning_rate, chosen.momentum, chosen.nesterov, chosen.weight_decay) == (0.1, 0.9, False, decay)
    assert chosen.decay_all
    assert chosen.schedule == Steps((0.35, 0.60, 0.85), 0.1)


@pytest.mark.parametrize("preset", ["short", "paper"])
def test_the_paper_trains_internal_classifiers_with_adam(preset: str) -> None:
    """Internal classifiers train by Adam 1e-3 for 25 epochs in either preset."""
    chosen = hyperparameters(HEADS, "resnet56", preset)
    assert (chosen.epochs, chosen.batch_size, chosen.optimizer, chosen.learning_rate) == (25, 128, "adam", 1e-3)
    assert chosen.weight_decay == 0


@pytest.mark.parametrize("recipe", [BACKBONE, EVERYTHING])
@pytest.mark.parametrize("model", ["torchvision:resnet18", "timm:vit_tiny_patch16_224", "package.module:build"])
def test_networks_of_other_sources_train_by_adamw(recipe: str, model: str) -> None:
    """SGD at the rates of the paper's networks leaves others at chance; the paper's preset stays the paper's."""
    chosen = hyperparameters(recipe, model)
    assert (chosen.optimizer, chosen.learning_rate, chosen.decay_all) == ("adamw", 1e-3, False)
    groups = build_optimizer(nn.Linear(2, 2), chosen).param_groups
    assert [group["weight_decay"] for group in groups] == [chosen.weight_decay, 0.0]
    assert isinstance(build_optimizer(nn.Linear(2, 2), chosen), torch.optim.AdamW)
    assert hyperparameters(recipe, model, "paper").optimizer == "sgd"


def test_the_papers_networks_train_by_muon() -> None:
    """Unless another optimiser is asked for, where there is a choice."""
    assert hyperparameters(BACKBONE, "vgg16").optimizer == "muon"
    assert hyperparameters(EVERYTHING, "timm:vit_tiny_patch16_224", optimizer="muon").optimizer == "muon"
    assert hyperparameters(EVERYTHING, "resnet56", optimizer="sgd").learning_rate == 0.1
    for recipe, preset in ((HEADS, "short"), (EVERYTHING, "paper")):
        with pytest.raises(ConfigurationError, match="Expected no --optimizer beside the recipe 'ic-only' or the pre"):
            hyperparameters(recipe, "vgg16", preset, optimizer="sgd")
    with pytest.raises(UnknownNameError, match="optimizer, got 'moun'; nearest: muon"):
        hyperparameters(EVERYTHING, "vgg16", optimizer="moun")


def test_epochs_replace_the_presets() -> None:
    """Given epochs are taken; the schedule, in shares of training, stays."""
    (chosen,) = plan_phases(RECIPES["joint"], Choices("vgg16", preset="paper", epochs=7))
    assert chosen.settings == replace(hyperparameters(EVERYTHING, "vgg16", "paper"), epochs=7)


def test_unknown_names_are_told_with_the_nearest() -> None:
    """A misspelt recipe or preset is refused with what was meant."""
    with pytest.raises(UnknownNameError, match="recipe, got 'jiont'; nearest: joint"):
        recipe_called("jiont")
    with pytest.raises(UnknownNameError, match="preset, got 'papr'; nearest: paper"):
        hyperparameters(EVERYTHING, "vgg16", "papr")


def test_a_recipe_is_one_entry() -> None:
    """A recipe made of others' parts trains what its phases say: heads on a new backbone, then everything."""
    recipe = Recipe(
        "staged",
        (
            PhasePlan("backbone", BACKBONE, share=0.5, only_if_untrained=True),
            PhasePlan("heads", HEADS, share=0.25),
            PhasePlan("all", EVERYTHING, share=0.25, rate=0.1),
        ),
        exit_weight=0.7,
    )
    phases = plan_phases(recipe, Choices("vgg16", epochs=8))
    assert [(phase.name, phase.trains, phase.settings.epochs) for phase in phases] == [
        ("backbone", BACKBONE, 4), ("heads", HEADS, 2), ("all", EVERYTHING, 2),
    ]  # fmt: skip
    assert [phase.settings.exit_weight for phase in phases] == [0.0, 0.0, 0.7]
    assert phases[2].settings.learning_rate == pytest.approx(0.1 * hyperparameters(EVERYTHING, "vgg16").learning_rate)
    trained = plan_phases(recipe, Choices("vgg16", epochs=8, start=Start.TRAINED))
    assert [(phase.name, phase.settings.epochs) for phase in trained] == [("heads", 4), ("all", 4)]
    with pytest.raises(ConfigurationError, match="Expected at least 3 epochs for the recipe 'staged', got 2"):
        plan_phases(recipe, Choices("vgg16", epochs=2))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"views": 0}, {"learning_rate": float("nan")}, {"learning_rate": 1e39}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """No epochs, images, views or learning rate is no training."""
    with pytest.raises(ConfigurationError, match=r"Expected .* (of at least 1|in \(0, 1e\+06\]), got"):
        replace(hyperparameters(EVERYTHING, "vgg16"), **wrong)


def test_short_recipes_do_not_decay_biases_and_norms() -> None:
    """Only matrices and kernels are decayed outside the paper preset."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    groups = build_optimizer(network, hyperparameters(EVERYTHING, "resnet56", optimizer="sgd")).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 5e-4), (3, 0.0)]
    groups = build_optimizer(network, hyperparameters(EVERYTHING, "resnet56", "paper")).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(4, 1e-4)]


def test_frozen_parameters_are_left_out() -> None:
    """An optimiser never sees a parameter without gradient, and every group gets the rate that is set."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(requires_grad=False)
    optimizer = build_optimizer(network, hyperparameters(HEADS, "vgg16"))
    assert isinstance(optimizer, torch.optim.Adam)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2]
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


def test_an_unknown_optimizer_is_refused() -> None:
    """Only the optimisers that are listed exist."""
    with pytest.raises(UnknownNameError, match="optimizer, got 'sdg'; nearest: sgd"):
        build_optimizer(nn.Linear(2, 2), replace(hyperparameters(EVERYTHING, "vgg16"), optimizer="sdg"))


def test_vgg_gets_a_lower_rate_by_sgd() -> None:
    """Without shortcuts the default rate of SGD breaks off; other networks and Muon keep theirs."""
    assert hyperparameters(BACKBONE, "vgg16", optimizer="sgd").learning_rate == 0.05
    assert hyperparameters(EVERYTHING, "vgg16", optimizer="sgd").learning_rate == 0.05
    assert hyperparameters(BACKBONE, "resnet56", optimizer="sgd").learning_rate == 0.2
    assert hyperparameters(BACKBONE, "vgg16").learning_rate == hyperparameters(BACKBONE, "resnet56").learning_rate
