"""Settings of a training, once they are known to go together."""

from __future__ import annotations

import math
from dataclasses import replace

from shallowdeep.checkpoint import read_manifest
from shallowdeep.data.augmentation import AUGMENTATIONS
from shallowdeep.data.preprocessing import CHANNEL_ORDERS, Preprocessing
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.models.registry import HF
from shallowdeep.runs.config import MOST_EXITS, BackdoorAttack, TrainConfig
from shallowdeep.runs.placement import MEASURES, TIME, measures
from shallowdeep.runs.preprocessing_choice import channels_of, check_against, rules_of, with_preset
from shallowdeep.runtime import PRECISIONS
from shallowdeep.sdn.placement import MINIMUM_GAP
from shallowdeep.sdn.saving import DTYPES
from shallowdeep.security.deepsloth import GREY_LEVELS
from shallowdeep.security.triggers import TRIGGERS
from shallowdeep.training.hyperparameters import PRESETS
from shallowdeep.training.recipes import RECIPES

TOGETHER = tuple(name for name, recipe in RECIPES.items() if recipe.together)
_LEAST = {
    "epochs": 0, "seed": 0, "conv_heads": 0, "deep_heads": 0, "learning_rate": 0,
    "batch_size": 0, "views": 1, "adversarial_steps": 0, "exit_weight": 0,
    "memory_budget": 0, "cache_budget": 0, "workers": 0, "max_length": 0,
}  # fmt: skip

_OF_EXITS = {
    "--adversarial-steps": "adversarial_steps", "--exits": "fractions", "--conv-heads": "conv_heads",
    "--deep-heads": "deep_heads", "--cascade": "cascade", "--timed-heads": "timed_heads",
}  # fmt: skip


def checked(config: TrainConfig) -> TrainConfig:
    """``config`` with the model from ``init`` and the settings of ``preprocessing``, once they go together.

    Raises:
        ConfigurationError: a setting outside its range, or settings that exclude each other.
        CheckpointError: ``init`` is no saved network.
    """
    for what, name, known in (
        ("recipe", config.recipe, RECIPES),
        ("preset", config.preset, PRESETS),
        ("precision", config.precision, PRECISIONS),
        ("weights dtype", config.weights_dtype, DTYPES),
        ("augmentation", config.augmentation, ("", *AUGMENTATIONS)),
        ("measure to place exits by", config.place_by, MEASURES),
        ("channel order", config.channel_order, ("", *CHANNEL_ORDERS)),
    ):
        if name not in known:
            raise UnknownNameError(what, name, known)
    _check_ranges(config)
    if config.attack is not None:
        _check_attack(config.attack)
    if config.init:
        saved = read_manifest(config.init)
        if config.model and config.model != saved.model.name:
            raise ConfigurationError(f"Expected the model of {config.init}, {saved.model.name!r}, got {config.model!r}")
        config = with_preset(replace(config, model=saved.model.name))
        if isinstance(saved.preprocessing, Preprocessing):
            check_against(config, saved.preprocessing, config.init)
    if config.model.startswith(HF) and not (config.weights or config.init):
        config = replace(config, pretrained=True)  # such a name stands for weights too
    config = with_preset(config)
    rules_of(config)  # refuses what is out of range
    _check_together(config)
    _check_expected_accuracy(config)
    _check_exits(config)
    return config


def _check_ranges(config: TrainConfig) -> None:
    for name in ("calibration_fraction", "test_fraction"):
        if not 0 < getattr(config, name) < 1:
            raise ConfigurationError(f"Expected {name.replace('_', ' ')} in (0, 1), got {getattr(config, name)}")
    for name, least in _LEAST.items():
        _check_least(name.replace("_", " "), getattr(config, name), least)
    if not 0 <= config.distillation < 1:
        raise ConfigurationError(f"Expected a share of distillation in [0, 1), got {config.distillation}")
    if not 0 < config.distillation_temperature < math.inf:
        raise ConfigurationError(f"Expected a distillation temperature above 0, got {config.distillation_temperature}")
    if not 0 < config.adversarial_epsilon <= GREY_LEVELS:
        raise ConfigurationError(
            f"Expected adversarial epsilon in (0, {GREY_LEVELS}], got {config.adversarial_epsilon}"
        )
    for fraction in config.fractions:
        if not 0 < fraction < 1:
            raise ConfigurationError(f"Expected exit fractions in (0, 1), got {fraction}")
    if len(config.fractions) > MOST_EXITS:
        raise ConfigurationError(
            f"Expected at most {MOST_EXITS} internal classifiers ({MINIMUM_GAP:.0%} of the MACs apart), "
            f"got {len(config.fractions)}"
        )


def _check_attack(attack: BackdoorAttack) -> None:
    if attack.trigger not in TRIGGERS:
        raise UnknownNameError("trigger", attack.trigger, TRIGGERS)
    _check_least("target", attack.target, 0)


def _check_least(what: str, value: float, least: float) -> None:
    if not math.isfinite(value):
        raise ConfigurationError(f"Expected a finite {what}, got {value}")
    if value < least:
        raise ConfigurationError(f"Expected {what} of at least {least}, got {value}")


def _check_together(config: TrainConfig) -> None:
    starts = [name for name in ("init", "weights", "pretrained") if getattr(config, name)]
    if len(starts) > 1:
        raise ConfigurationError(f"Expected one source of weights, got --{' and --'.join(starts)}")
    if config.new_head and not config.weights:
        raise ConfigurationError("Expected --weights beside --new-head, got none")
    if not config.model:
        raise ConfigurationError("Expected a model by --model, or a RUN by --init, got neither")
    if config.train_backbone and not RECIPES[config.recipe].needs_trained_backbone:
        raise ConfigurationError(f"Expected the recipe 'ic-only' beside --train-backbone, got {config.recipe!r}")
    channels = channels_of(config)
    if bool(config.mean) != bool(config.std) or {len(config.mean), len(config.std)} - {0, channels}:
        numbers = {1: "one number", 3: "three numbers"}.get(channels, f"{channels} numbers")
        raise ConfigurationError(f"Expected {numbers} for --mean and as many for --std, or neither")
    trained = config.init or (config.weights and not config.new_head) or config.train_backbone
    if RECIPES[config.recipe].needs_trained_backbone and not trained:
        untrained = "one whose last layer is new" if config.pretrained or config.new_head else "an untrained one"
        raise ConfigurationError(
            "Expected --init RUN or --weights FILE for the recipe 'ic-only', which leaves the backbone as it is, "
            f"got {untrained}; give one, or --train-backbone"
        )


def _check_expected_accuracy(config: TrainConfig) -> None:
    """Refuse an accuracy that is no share, or of weights that are new."""
    if not 0 <= config.expect_accuracy <= 1:
        raise ConfigurationError(f"Expected an accuracy to expect in (0, 1], got {config.expect_accuracy}")
    if config.expect_accuracy and not (config.init or config.weights or config.pretrained):
        raise ConfigurationError("Expected --weights, --pretrained or --init beside --expect-accuracy, got new weights")


def _check_exits(config: TrainConfig) -> None:
    """Refuse options of internal classifiers that do not apply."""
    for option in ("equilibrium", "exit_weight", "distillation"):
        if getattr(config, option) and config.recipe not in TOGETHER:
            raise ConfigurationError(
                f"Expected a recipe that trains exits and backbone together ({', '.join(TOGETHER)}) beside "
                f"--{option.replace('_', '-')}, got {config.recipe!r}"
            )
    for option, setting in _OF_EXITS.items():
        if not RECIPES[config.recipe].exits and getattr(config, setting):
            raise ConfigurationError(f"Expected no {option} for the recipe 'backbone', which has no such exits")
    if not RECIPES[config.recipe].exits and config.place_by == TIME:
        raise ConfigurationError("Expected no --place-by time for the recipe 'backbone', which has no such exits")
    if config.time_on and not measures(config):
        raise ConfigurationError("Expected --place-by time or --timed-heads beside --time-on, got neither")
    if config.cascade and len(config.fractions) == 1:
        raise ConfigurationError("Expected at least two internal classifiers for --cascade, got one")
    if config.conv_heads and config.deep_heads:
        raise ConfigurationError("Expected one kind of heads, got --conv-heads and --deep-heads")
    if config.timed_heads and (config.conv_heads or config.deep_heads):
        other = "--conv-heads" if config.conv_heads else "--deep-heads"
        raise ConfigurationError(f"Expected one kind of heads, got --timed-heads and {other}")
