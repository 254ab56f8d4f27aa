"""Settings to data and a network with its starting weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shallowdeep.artifacts import MODEL_MANIFEST, MODEL_WEIGHTS
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.data.text import TextPreprocessing
from shallowdeep.errors import ConfigurationError, ModelError, WeightsMismatchError, one_line
from shallowdeep.image_size import shown_size
from shallowdeep.models import hf_zoo
from shallowdeep.models.image_size import RGB
from shallowdeep.models.initialization import DataInitialised, initialize_from
from shallowdeep.models.registry import HF, build, published_input, reads_text, resolve
from shallowdeep.models.weights import LoadedWeights, last_layer, load_weights, match_weights, read_state_dict
from shallowdeep.progress import SILENT, Progress
from shallowdeep.runs.config import BackdoorAttack, TrainConfig
from shallowdeep.runs.placement import Placement, place
from shallowdeep.runs.preprocessing_choice import channel_order_of, channels_of, rules_of
from shallowdeep.runtime import evaluating, seed_everything
from shallowdeep.sdn.internal_classifier import CONV, DEEP
from shallowdeep.sdn.logits import logits_of
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.profile import SHORTEST
from shallowdeep.sdn.saving import Architecture
from shallowdeep.security.poisoning import Poisoning, poisoned
from shallowdeep.security.triggers import make_trigger, square_of
from shallowdeep.training.conversion import convert_by, first_of_kind
from shallowdeep.training.recipes import Choices, Phase, Start, plan_phases, recipe_called

INITIALISATION_IMAGES = 5_000
_LIGHTER = {"cifar": "light"}  # see results/training


def prepare_data(config: TrainConfig, progress: Progress = SILENT) -> DataSplits:
    """The dataset as the network wants its images: at its size, by the rules and normalisation of the settings.

    Raises:
        ShallowDeepError: bad settings or data.
    """
    text = _text_preprocessing(config)
    given, sizes = (text, 1) if text is not None else _preprocessing(config)
    data = load_dataset(
        config.data, image_size=sizes, seed=config.seed, calibration_fraction=config.calibration_fraction,
        test_fraction=config.test_fraction, skip_bad_images=config.skip_bad_images,
        memory_budget=int(config.memory_budget * 2**30), preprocessing=given, text_column=config.text_column,
        rules=rules_of(config), progress=progress,
    )  # fmt: skip
    if text is not None:
        return data
    if not config.init:
        found = images_alone(data.preprocessing)
        data = replace(data, preprocessing=_normalised(found, config, measured=given is None))
    if config.attack is not None:
        data = _attacked(data, config.attack, config.seed)
    return replace(data, augmentation=_augmentation(config, data))


def phases_of(config: TrainConfig) -> list[Phase]:
    """The phases of a training, with their hyper-parameters.

    Raises:
        ConfigurationError: too few epochs for two phases, or an optimiser where there is no choice.
        UnknownNameError: the optimiser is unknown.
    """
    partly = config.pretrained or config.new_head
    trained = Start.TRAINED if config.init or config.weights else Start.FRESH
    choices = Choices(
        model=config.model, preset=config.preset, epochs=config.epochs, optimizer=config.optimizer,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
        start=Start.PRETRAINED if partly else trained, backbone_first=config.train_backbone,
        views=config.views, equilibrium=config.equilibrium, exit_weight=config.exit_weight,
        distillation=config.distillation, temperature=config.distillation_temperature,
    )  # fmt: skip
    return plan_phases(recipe_called(config.recipe), choices)


def _augmentation(config: TrainConfig, data: DataSplits) -> str:
    """The preset asked for, or the data's; where the backbone learns in few epochs, a lighter one."""
    few = config.preset == "short" and (recipe_called(config.recipe).light_augmentation or config.train_backbone)
    return config.augmentation or (_LIGHTER.get(data.augmentation, data.augmentation) if few else data.augmentation)


def _normalised(found: Preprocessing, config: TrainConfig, *, measured: bool) -> Preprocessing:
    """``found`` with the mean, standard deviation and order of channels of the settings; measured ones are RGB."""
    order = channel_order_of(config)
    step = -1 if measured and order == "bgr" else 1
    mean, std = config.mean or found.mean[::step], config.std or found.std[::step]
    return replace(found, mean=mean, std=std, channel_order=order)


def _attacked(data: DataSplits, attack: BackdoorAttack, seed: int) -> DataSplits:
    """``data`` with some of its training images poisoned."""
    trigger = make_trigger(attack.trigger, square_of(images_alone(data.preprocessing)))
    poisoning = Poisoning(trigger, attack.target, attack.poison_ratio, seed)
    return replace(data, train=poisoned(data.train, poisoning, data.classes))


def _text_preprocessing(config: TrainConfig) -> TextPreprocessing | None:
    """How text becomes a network's input; None for a network of images."""
    if config.init:
        given = read_manifest(config.init).preprocessing
        return given if isinstance(given, TextPreprocessing) else None
    if not reads_text(config.model):
        return None
    tokenizer, longest = hf_zoo.tokenizer_of(config.model)
    if config.max_length > longest:
        raise ConfigurationError(f"Expected a length of at most {longest} tokens, got {config.max_length}")
    return TextPreprocessing(tokenizer, config.max_length or longest)


def example_for(data: DataSplits) -> Tensor:
    """One input of zeros: an image, or a text of the mean length of ``tune``, whose texts are whole ones."""
    lengths = data.tune.lengths
    if lengths is None:
        return torch.zeros(1, *data.preprocessing.shape)
    return torch.zeros(1, max(SHORTEST + 1, round(float(lengths.mean()))), dtype=torch.int64)


def _preprocessing(config: TrainConfig) -> tuple[Preprocessing | None, str | tuple[int, ...]]:
    """Preprocessing that is fixed already, or None; and the sizes that the network takes."""
    if config.init:  # what its manifest names is not resolved here: that may run code, which takes trust
        given = read_manifest(config.init).preprocessing
        if not isinstance(given, Preprocessing):
            raise ConfigurationError(
                f"Expected a run with preprocessing in {config.init}, got a network made from Python without any"
            )
        if config.image_size and config.image_size != given.size:
            raise ConfigurationError(
                f"Expected image size {shown_size(given.size)}, that of {config.init}, "
                f"got {shown_size(config.image_size)}"
            )
        return given, shown_size(given.size)
    sizes = shown_size(config.image_size) if config.image_size else resolve(config.model).image_sizes
    published = published_input(config.model) if config.pretrained else None
    if published is None or len(published.mean) != channels_of(config):
        return None, sizes
    size = config.image_size or resolve(config.model).image_sizes[0]
    return Preprocessing(size, published.mean, published.std, rules_of(config)), sizes


def prepare_placement(
    config: TrainConfig, data: DataSplits, *, trust: bool = False, progress: Progress = SILENT
) -> Placement:
    """Where the exits of a network that is to be trained stand, by times measured here; see `place`.

    Raises:
        ShallowDeepError: as for `prepare_network`; or what is to be measured cannot run here.
    """
    seed_everything(config.seed)
    backbone, example = _backbone(config, data, trust=trust), example_for(data)
    _check_logits(backbone, example, len(data.classes))
    return place(config, backbone, images_alone(data.preprocessing).shape, progress)


def prepare_network(
    config: TrainConfig,
    data: DataSplits,
    *,
    trust: bool = False,
    placement: Placement | None = None,
    progress: Progress = SILENT,
) -> ShallowDeepNetwork:
    """The network to be trained, with its starting weights, preprocessing and classes.

    Args:
        config: its settings.
        data: as `prepare_data` gives it.
        trust: allow ``config.init`` to name code to run.
        placement: of its exits, where measured times decide; None to place by MACs.
        progress: told which names of a weights file were not taken as they are.

    Raises:
        ConfigurationError: the RUN to start from has other classes.
        WeightsMismatchError: weights that do not fit.
        ModelError: the model cannot run on these images, has other classes, or cannot be converted.
    """
    seed_everything(config.seed)
    count = len(data.classes)
    backbone = _backbone(config, data, trust=trust, progress=progress)
    example = example_for(data)
    _check_logits(backbone, example, count)
    kind, count_of_kind = (DEEP, config.deep_heads) if config.deep_heads else (CONV, config.conv_heads)
    heads = first_of_kind(kind, count_of_kind) if count_of_kind else None
    fractions = config.fractions or None
    if placement is not None:
        fractions, heads = placement.fractions, placement.heads or heads
    network = convert_by(
        recipe_called(config.recipe), backbone, example, fractions=fractions, heads=heads, cascaded=config.cascade,
        at=None if placement is None else placement.at,
    )  # fmt: skip
    network.preprocessing, network.classes = data.preprocessing, data.classes
    channels = data.preprocessing.channels if isinstance(data.preprocessing, Preprocessing) else RGB
    network.architecture = Architecture(
        config.model, count, data.preprocessing.size, channels, hf_zoo.config_of(backbone)
    )
    return network


def _backbone(config: TrainConfig, data: DataSplits, *, trust: bool, progress: Progress = SILENT) -> nn.Module:
    """The backbone with its starting weights, in train mode."""
    count = len(data.classes)
    if config.init:
        start = load(config.init, trust=trust)
        check_classes(start.classes, config.init, data.classes, config.data)
        return start.to_backbone().train()
    channels = data.preprocessing.channels if isinstance(data.preprocessing, Preprocessing) else RGB
    if config.pretrained and config.model.startswith(HF):
        return hf_zoo.build_pretrained(
            config.model, count, data.preprocessing.size, channels, told=progress.say
        ).train()
    backbone = build(
        config.model, num_classes=count, image_size=data.preprocessing.size, pretrained=config.pretrained,
        channels=channels,
    )  # fmt: skip
    if config.weights:
        told = str(_load_given(backbone, Path(config.weights), count, new_head=config.new_head))
        if told:
            progress.say(f"Weights in {Path(config.weights).name}: {told}")
    elif not config.pretrained and any(isinstance(module, DataInitialised) for module in backbone.modules()):
        step = math.ceil(len(data.train) / INITIALISATION_IMAGES)
        images, _ = data.train.fetch(torch.arange(0, len(data.train), step))
        initialize_from(backbone, data.preprocessing.normalize(images))
    return backbone


def _load_given(backbone: nn.Module, path: Path, num_classes: int, *, new_head: bool) -> LoadedWeights:
    """Put the state dict in a file into the backbone.

    Raises:
        ModelError: the file is a run's, which knows more than weights; or the last layer is to be new, and cannot be
            told.
        WeightsMismatchError: it does not fit; told apart where all but the last layer does.
    """
    if path.name == MODEL_WEIGHTS and (path.parent / MODEL_MANIFEST).exists():
        raise ModelError(
            f"Expected weights of a backbone in {path}, got those of a run: `train --init {path.parent}` takes its "
            "backbone, with its preprocessing"
        )
    state_dict, head = read_state_dict(path), last_layer(backbone, num_classes)
    if new_head and not head:
        raise ModelError(f"Expected a layer with {num_classes} outputs in {type(backbone).__name__}, got none")
    try:
        return load_weights(backbone, state_dict, str(path), new=head if new_head else "")
    except WeightsMismatchError as error:
        if new_head or not head or not _fits_but(backbone, state_dict, head):
            raise
        raise WeightsMismatchError(f"{error}. All but {head} fits: --new-head starts that layer anew") from error


def _fits_but(backbone: nn.Module, state_dict: Mapping[str, Any], head: str) -> bool:
    """Whether weights fit all of a backbone but its last layer."""
    try:
        match_weights(backbone, state_dict, "", new=head)
    except WeightsMismatchError:
        return False
    return True


def check_classes(expected: tuple[str, ...], run: str, got: tuple[str, ...], data: str) -> None:
    """Refuse data whose classes are not those of a run, in the same order.

    Raises:
        ConfigurationError: naming the first of both.
    """
    if expected != got:
        raise ConfigurationError(
            f"Expected the {len(expected)} classes of {run} ({', '.join(expected[:3])} ...), "
            f"got {len(got)} in {data} ({', '.join(got[:3])} ...)"
        )


def _check_logits(backbone: nn.Module, example: Tensor, count: int) -> None:
    """Refuse a network that cannot run on images of this size, or that has another number of classes."""
    name = type(backbone).__name__
    try:
        with torch.no_grad(), evaluating(backbone):
            logits = logits_of(backbone(example))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ModelError(f"Expected {name} to run on {_described(example)}, got {one_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.shape != (1, count):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"Expected {name} to return logits (N, {count}), one for each class of the data, got {got}")


def _described(example: Tensor) -> str:
    """What a network is tried on, in words."""
    if not example.is_floating_point():
        return f"texts of {example.shape[1]} tokens"
    channels, height, width = example.shape[1:]
    told = "" if channels == RGB else f" and {channels} channel{'' if channels == 1 else 's'}"
    return f"images of {height}x{width} pixels{told}"
