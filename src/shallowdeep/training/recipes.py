"""Recipes: what is trained, in which phases, with which heads. Each is one entry of `RECIPES`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.sdn.internal_classifier import DEEP, POOLED
from shallowdeep.training.hyperparameters import (
    BACKBONE,
    EVERYTHING,
    HEADS,
    Hyperparameters,
    fine_tuned,
    hyperparameters,
)

OF_AN_OBJECT = "python:object"  # the model's name for hyper-parameters of a network that has none


class Start(Enum):
    """How far the backbone's weights are when a training begins."""

    FRESH = "initialised"
    PRETRAINED = "published weights, the last layer new"
    TRAINED = "trained for this task"


@dataclass(frozen=True)
class PhasePlan:
    """One phase of a recipe.

    Attributes:
        name: of the phase, in histories.
        trains: one of `shallowdeep.training.hyperparameters.TRAINED_PARTS`.
        share: of the recipe's epochs.
        rate: times the peak learning rate that suits what is trained.
        rate_if_begun: times that, where the backbone does not begin fresh.
        only_if_untrained: leave it out, and give its epochs to the others, where the backbone is trained already.
    """

    name: str
    trains: str
    share: float = 1.0
    rate: float = 1.0
    rate_if_begun: float = 1.0
    only_if_untrained: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a network becomes, and how.

    Attributes:
        name: as ``--recipe`` takes it.
        phases: in turn.
        exits: whether there are internal classifiers at all.
        heads: kind of head that internal classifiers on maps get by default.
        exit_weight: constant weight of each internal classifier's loss beside 1 for the final exit's; 0 for the
            paper's weights, which rise in training.
        needs_trained_backbone: refuse a backbone whose weights mean nothing yet.
        light_augmentation: few epochs of a backbone want less augmentation than the data's own.
    """

    name: str
    phases: tuple[PhasePlan, ...]
    exits: bool = True
    heads: str = POOLED
    exit_weight: float = 0.0
    needs_trained_backbone: bool = False
    light_augmentation: bool = True

    @property
    def together(self) -> bool:
        """Whether backbone and internal classifiers are trained together at the end."""
        return self.phases[-1].trains == EVERYTHING


BACKBONE_SHARE = 0.6  # of the epochs of `mixed`
JOINT_RATE = 0.3  # of the peak rate of `joint`, where a trained backbone comes in
BEST_EXIT_WEIGHT = 0.5  # see results/training

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("backbone", (PhasePlan("backbone", BACKBONE),), exits=False),
        # Source: Kaya et al. 2019, section 3.2: IC-only training on a frozen network.
        Recipe("ic-only", (PhasePlan("ic-only", HEADS),), needs_trained_backbone=True, light_augmentation=False),
        # Source: Kaya et al. 2019, section 3.2: SDN training from scratch.
        Recipe("joint", (PhasePlan("joint", EVERYTHING),)),
        # Source: Kubaty et al., "How to train your multi-exit model", 2024.
        Recipe(
            "mixed",
            (
                PhasePlan("backbone", BACKBONE, share=BACKBONE_SHARE, only_if_untrained=True),
                PhasePlan("joint", EVERYTHING, share=1 - BACKBONE_SHARE, rate=JOINT_RATE),
            ),
        ),
        # `joint` with what the ablation in results/training found to help.
        Recipe(
            "best",
            (PhasePlan("best", EVERYTHING, rate_if_begun=JOINT_RATE),),
            heads=DEEP,
            exit_weight=BEST_EXIT_WEIGHT,
        ),
    )
}


def recipe_called(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]


@dataclass(frozen=True)
class Phase:
    """One phase of a training, ready to run.

    Attributes:
        name: in histories.
        trains: one of `shallowdeep.training.hyperparameters.TRAINED_PARTS`.
        settings: its hyper-parameters.
    """

    name: str
    trains: str
    settings: Hyperparameters


@dataclass(frozen=True)
class Choices:
    """What a user may set beside the recipe; 0, "" and False keep the recipe's own.

    Attributes:
        model: name of the network, which decides the optimiser and the paper's weight decay.
        preset: ``short`` or ``paper``.
        epochs: of all the recipe's phases together.
        optimizer: ``sgd``, ``muon`` or ``adamw``.
        learning_rate: peak.
        batch_size: images a step.
        start: how far the backbone's weights are.
        backbone_first: train the backbone first, as the recipe ``backbone`` with the same preset would.
        views: augmented copies of each image in the feature cache.
        equilibrium: give the trunk the mean of all downstream gradients, not their sum.
        exit_weight: constant weight of every internal classifier's loss.
        distillation: share of the internal classifiers' loss that the final exit teaches.
        temperature: of that teaching.
    """

    model: str = OF_AN_OBJECT
    preset: str = "short"
    epochs: int = 0
    optimizer: str = ""
    learning_rate: float = 0.0
    batch_size: int = 0
    start: Start = Start.FRESH
    backbone_first: bool = False
    views: int = 5
    equilibrium: bool = False
    exit_weight: float = 0.0
    distillation: float = 0.0
    temperature: float = 3.0


def plan_phases(recipe: Recipe, choices: Choices) -> list[Phase]:
    """The phases of a training, with their hyper-parameters.

    Args:
        recipe: what is trained.
        choices: what is set otherwise.

    Raises:
        ConfigurationError: too few epochs for several phases, or an optimiser where there is no choice.
        UnknownNameError: the optimiser or the preset is unknown.
    """
    trained = choices.start is Start.TRAINED
    plans = [plan for plan in recipe.phases if not (trained and plan.only_if_untrained)]
    heads_optimizer = "" if choices.backbone_first else choices.optimizer  # the choice is the backbone's
    bases = [
        hyperparameters(
            plan.trains, choices.model, choices.preset, heads_optimizer if plan.trains == HEADS else choices.optimizer
        )
        for plan in plans
    ]
    epochs = _epochs(plans, choices.epochs or bases[-1].epochs, recipe.name)
    phases = [
        _phase(recipe, plan, replace(base, epochs=count), choices, alone=len(plans) == 1)
        for plan, base, count in zip(plans, bases, epochs, strict=True)
    ]
    if choices.backbone_first:
        first = hyperparameters(BACKBONE, choices.model, choices.preset, choices.optimizer)
        phases.insert(0, Phase("backbone", BACKBONE, _with_losses(first, choices, first.exit_weight)))
    return phases


def _phase(recipe: Recipe, plan: PhasePlan, base: Hyperparameters, choices: Choices, *, alone: bool) -> Phase:
    """One phase; a learning rate given is the peak of the only phase, and of several that before ``plan.rate``."""
    fresh = choices.start is Start.FRESH or fine_tuned(choices.model)  # the rates of fine-tuning are low already
    begun = 1.0 if fresh else plan.rate_if_begun
    if not choices.learning_rate:
        rate = base.learning_rate * plan.rate * begun
    else:
        rate = choices.learning_rate if alone else choices.learning_rate * plan.rate
    weight = recipe.exit_weight if plan.trains == EVERYTHING else base.exit_weight
    settings = replace(base, learning_rate=rate, batch_size=choices.batch_size or base.batch_size)
    return Phase(plan.name, plan.trains, _with_losses(settings, choices, weight))


def _with_losses(settings: Hyperparameters, choices: Choices, exit_weight: float) -> Hyperparameters:
    """Hyper-parameters with the choices that concern losses and cached features."""
    return replace(
        settings, views=choices.views, equilibrium=choices.equilibrium,
        exit_weight=choices.exit_weight or exit_weight, distillation=choices.distillation,
        temperature=choices.temperature,
    )  # fmt: skip


def _epochs(plans: Sequence[PhasePlan], epochs: int, recipe: str) -> list[int]:
    """Share ``epochs`` out among phases, at least one to each; the last takes what rounding leaves.

    Raises:
        ConfigurationError: there are not enough.
    """
    if epochs < len(plans):
        raise ConfigurationError(f"Expected at least {len(plans)} epochs for the recipe {recipe!r}, got {epochs}")
    whole = sum(plan.share for plan in plans)
    counts: list[int] = []
    for place, plan in enumerate(plans[:-1]):
        left = epochs - sum(counts) - (len(plans) - place - 1)
        counts.append(min(left, max(1, round(epochs * plan.share / whole))))
    return [*counts, epochs - sum(counts)]
