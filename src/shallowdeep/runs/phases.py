"""From settings to the phases of a training, with their hyper-parameters."""

from __future__ import annotations

from dataclasses import replace

from shallowdeep.runs.config import TrainConfig
from shallowdeep.training.recipes import JOINT_RATE, Hyperparameters, hyperparameters, mixed_epochs
from shallowdeep.training.run import Phase


def phases_of(config: TrainConfig) -> list[Phase]:
    """The recipe's phases with their hyper-parameters; ``epochs`` applies to the last, of ``mixed`` to both.

    ``mixed`` trains the backbone first and then everything, at a lower rate; where the backbone comes from a run or a
    file, its first phase is done already, and all epochs are joint. ``best`` trains everything from the start, at that
    lower rate where the backbone comes from somewhere.

    Raises:
        ConfigurationError: too few epochs for two phases, or an optimiser where there is no choice.
        UnknownNameError: the optimiser is unknown.
    """

    def settings(recipe: str, epochs: int) -> Hyperparameters:
        heads_alone = recipe == "ic-only" and config.train_backbone  # the optimiser is the backbone's
        optimizer = "" if heads_alone else config.optimizer
        chosen = hyperparameters(recipe, config.model, config.preset, epochs or None, optimizer)
        chosen = replace(
            chosen, views=config.views, equilibrium=config.equilibrium,
            exit_weight=config.exit_weight or chosen.exit_weight,
            distillation=config.distillation, temperature=config.distillation_temperature,
        )  # fmt: skip
        if recipe != config.recipe:
            return chosen
        rate, batch = config.learning_rate or chosen.learning_rate, config.batch_size or chosen.batch_size
        return replace(chosen, learning_rate=rate, batch_size=batch)

    if config.recipe == "mixed":
        whole = settings("mixed", config.epochs)
        if config.init or config.weights:
            return [Phase("joint", whole)]
        first, rest = mixed_epochs(whole.epochs)
        alone = settings("backbone", first)
        alone = replace(alone, learning_rate=config.learning_rate or alone.learning_rate, batch_size=whole.batch_size)
        rate = JOINT_RATE * config.learning_rate if config.learning_rate else whole.learning_rate
        return [Phase("backbone", alone), Phase("joint", replace(whole, epochs=rest, learning_rate=rate))]
    chosen = settings(config.recipe, config.epochs)
    trained = config.init or config.weights or config.pretrained
    if config.recipe == "best" and trained and not config.learning_rate:
        chosen = replace(chosen, learning_rate=JOINT_RATE * chosen.learning_rate)
    phases = [Phase(config.recipe, chosen)]
    if config.train_backbone:
        phases.insert(0, Phase("backbone", settings("backbone", 0)))
    return phases
