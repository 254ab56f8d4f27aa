"""From settings (TOML or command line) to data, network and a trained RUN."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from accelerate import Accelerator
from torch import nn

from shallowdeep.checkpoint import DTYPES, Architecture, load, read_manifest
from shallowdeep.cost import count_macs
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError, OutputError, UnknownNameError
from shallowdeep.files import replacing
from shallowdeep.models.initialization import initialize_from
from shallowdeep.models.registry import build, pretrained_preprocessing, resolve
from shallowdeep.models.weights import load_weights, read_state_dict
from shallowdeep.runtime import pick_device, pick_precision, seed_everything
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.observer import Observer
from shallowdeep.training.recipes import PRESETS, Hyperparameters, hyperparameters, recipe_named
from shallowdeep.training.run import STATE, Phase, train

CONFIG = "config.toml"
INITIALISATION_IMAGES = 5_000


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training gives; ``config.toml`` of a RUN.

    Attributes:
        data: name or path of the dataset.
        model: name of the network.
        recipe: ``backbone``, ``ic-only`` or ``joint``.
        preset: hyper-parameters, ``short`` or ``paper``.
        epochs: instead of the preset's; 0 keeps it.
        seed: of splits, initial weights, order and augmentation.
        init: RUN whose backbone is taken over, or "".
        weights: state-dict file for the backbone, or "".
        pretrained: take torchvision's or timm's published weights.
        train_backbone: let ``ic-only`` train the backbone first.
        image_size: side in pixels; 0 for the network's own, or the nearer of 32 and 64.
        fractions: target shares of MACs of the internal classifiers; empty for the paper's.
        conv_heads: how many of the first internal classifiers get a convolution.
        learning_rate: peak, instead of the preset's; 0 keeps it.
        batch_size: instead of the preset's; 0 keeps it.
        views: augmented views in the feature cache of ``ic-only``.
        calibration_fraction: of the training part, held out.
        test_fraction: of the data, where there is no test part.
        skip_bad_images: leave out images that cannot be decoded.
        memory_budget: GiB of decoded images to hold; more streams from disk.
        cache_budget: GiB of disk for cached features.
        precision: ``auto``, ``fp32`` or ``bf16``.
        weights_dtype: of the saved weights, ``fp32`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda`` …
    """

    data: str
    model: str = ""
    recipe: str = "joint"
    preset: str = "short"
    epochs: int = 0
    seed: int = 0
    init: str = ""
    weights: str = ""
    pretrained: bool = False
    train_backbone: bool = False
    image_size: int = 0
    fractions: tuple[float, ...] = ()
    conv_heads: int = 0
    learning_rate: float = 0.0
    batch_size: int = 0
    views: int = 4
    calibration_fraction: float = 0.1
    test_fraction: float = 0.2
    skip_bad_images: bool = False
    memory_budget: float = 2.0
    cache_budget: float = 8.0
    precision: str = "auto"
    weights_dtype: str = "fp32"
    device: str = "auto"


def read_config(path: Path) -> TrainConfig:
    """The settings in a TOML file.

    Raises:
        ConfigurationError: not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Expected settings in TOML in {path}, got: {error}") from error
    return config_from(document, str(path))


def config_from(document: dict[str, Any], source: str) -> TrainConfig:
    """Settings from a dictionary; ``source`` is named in errors.

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong type.
    """
    known = {field.name: field.default for field in fields(TrainConfig)}
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            raise UnknownNameError(f"setting in {source}", key, known)
        values[key] = _typed(key, value, str if key == "data" else type(known[key]))
    if not values.get("data"):
        raise ConfigurationError(f"Expected data in {source} or by --data, got none")
    return TrainConfig(**values)


def _typed(key: str, value: Any, kind: type) -> Any:  # noqa: ANN401 - any TOML value
    if kind is tuple and isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value):
        return tuple(float(v) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigurationError(f"Expected {key} to be of type {kind.__name__}, got {value!r}")
    return value


def write_config(config: TrainConfig, directory: Path) -> None:
    """Write ``config.toml`` to a RUN."""
    document = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    with replacing(directory / CONFIG) as temporary:
        temporary.write_text(tomli_w.dumps(document))


def run_training(
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trust: bool = False,
    observer: Observer,
    data_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[ShallowDeepNetwork, DataSplits, list[dict[str, Any]]]:
    """Train what ``config`` says into the RUN ``directory``; the network, its data and its history.

    Raises:
        ShallowDeepError: any of its kinds, for bad settings, data, models or a full disk; nothing old is lost.
    """
    config = checked(config)
    accelerator = Accelerator(cpu=pick_device(config.device).type == "cpu")
    precision = pick_precision(config.precision, accelerator.device)
    fresh = claim(directory, config, resume=resume, overwrite=overwrite)
    phases = phases_of(config)
    data = prepare_data(config, data_progress)
    network = prepare_network(config, data, trust=trust)
    require_space(directory, network)
    if fresh and accelerator.is_main_process:
        directory.mkdir(parents=True, exist_ok=True)
        write_config(config, directory)
    accelerator.wait_for_everyone()
    architecture = Architecture(config.model, len(data.classes), data.preprocessing.size)
    history = train(
        network, data, phases, directory, architecture, seed=config.seed, precision=precision,
        cache_budget=int(config.cache_budget * 2**30), weights_dtype=config.weights_dtype,
        accelerator=accelerator, observer=observer,
    )  # fmt: skip
    return network, data, history


def checked(config: TrainConfig) -> TrainConfig:
    """``config`` with the model filled in from ``init``, once its settings go together.

    Raises:
        ConfigurationError: a setting outside its range, or settings that exclude each other.
    """
    recipe_named(config.recipe)
    if config.preset not in PRESETS:
        raise UnknownNameError("preset", config.preset, PRESETS)
    if config.weights_dtype not in DTYPES:
        raise UnknownNameError("weights dtype", config.weights_dtype, DTYPES)
    for name in ("calibration_fraction", "test_fraction"):
        if not 0 < getattr(config, name) < 1:
            raise ConfigurationError(f"Expected {name.replace('_', ' ')} in (0, 1), got {getattr(config, name)}")
    if config.epochs < 0 or config.batch_size < 0 or config.learning_rate < 0 or config.seed < 0:
        raise ConfigurationError("Expected epochs, batch size, learning rate and seed of at least 0")
    if config.init and (config.weights or config.pretrained):
        raise ConfigurationError("Expected one source of weights, got --init beside --weights or --pretrained")
    if config.init:
        saved = str(read_manifest(config.init)["model"]["name"])
        if config.model and config.model != saved:
            raise ConfigurationError(f"Expected the model of {config.init}, {saved!r}, got {config.model!r}")
        config = replace(config, model=saved)
    if not config.model:
        raise ConfigurationError("Expected a model by --model, or a RUN by --init, got neither")
    starts = config.init or config.weights or config.pretrained
    if config.recipe == "ic-only" and not (starts or config.train_backbone):
        raise ConfigurationError(
            "Expected --init RUN or --weights FILE for the recipe 'ic-only', which leaves the backbone as it is, got an "
            "untrained one; give one, or --train-backbone"
        )
    return config


def phases_of(config: TrainConfig) -> list[Phase]:
    """The recipe's phases with their hyper-parameters; ``epochs`` applies to the last."""

    def settings(recipe: str, epochs: int) -> Hyperparameters:
        chosen = hyperparameters(recipe, config.model, config.preset, epochs or None)
        chosen = replace(chosen, views=config.views)
        if recipe != config.recipe:
            return chosen
        rate, batch = config.learning_rate or chosen.learning_rate, config.batch_size or chosen.batch_size
        return replace(chosen, learning_rate=rate, batch_size=batch)

    phases = [Phase(config.recipe, settings(config.recipe, config.epochs))]
    if config.recipe == "ic-only" and config.train_backbone and not config.init:
        phases.insert(0, Phase("backbone", settings("backbone", 0)))
    return phases


def claim(directory: Path, config: TrainConfig, *, resume: bool, overwrite: bool) -> bool:
    """Whether ``directory`` is to be started afresh; False where an unfinished run goes on.

    Raises:
        OutputError: it exists already, and neither ``resume`` nor ``overwrite`` is given.
        ConfigurationError: the run to be resumed has other settings.
    """
    path = directory / CONFIG
    if resume and path.exists():
        saved = read_config(path)
        for field in fields(TrainConfig):
            before, now = getattr(saved, field.name), getattr(config, field.name)
            if before != now:
                raise ConfigurationError(
                    f"Expected the settings of {path} to resume, got another {field.name}: {now!r} instead of {before!r}"
                )
        return False
    if directory.is_dir() and any(directory.iterdir()):
        if not overwrite:
            raise OutputError(f"Expected a new directory for the run, {directory} exists; --resume goes on with it, --overwrite replaces it")
        (directory / STATE).unlink(missing_ok=True)
    elif directory.exists() and not directory.is_dir():
        raise OutputError(f"Expected a directory for the run, {directory} is a file")
    return True


def require_space(directory: Path, network: nn.Module) -> None:
    """Refuse before the first step a disk that cannot hold two states (weights and momenta) and the result.

    Raises:
        OutputError: naming the room needed and the room there is.
    """
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    needed = 8 * weights
    existing = next(folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(f"Expected {needed / 2**20:.0f} MiB of free space for {directory}, got {free / 2**20:.0f} MiB: no space left on the disk")


def prepare_data(config: TrainConfig, progress: Callable[[str, int, int], None] | None = None) -> DataSplits:
    """The dataset at the size the network wants, normalised as published weights want where there are any."""
    given = None
    if config.init:
        given = Preprocessing.from_dict(read_manifest(config.init)["preprocessing"])
        if config.image_size and config.image_size != given.size:
            raise ConfigurationError(f"Expected image size {given.size}, that of {config.init}, got {config.image_size}")
    sizes = config.image_size or resolve(config.model).image_sizes
    published = pretrained_preprocessing(config.model) if config.pretrained else None
    if published is not None:
        size = sizes if isinstance(sizes, int) else sizes[0]
        mean, std = published
        given = Preprocessing(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    return load_dataset(
        config.data, image_size=sizes, seed=config.seed, calibration_fraction=config.calibration_fraction,
        test_fraction=config.test_fraction, skip_bad_images=config.skip_bad_images,
        memory_budget=int(config.memory_budget * 2**30), preprocessing=given, progress=progress,
    )  # fmt: skip


def prepare_network(config: TrainConfig, data: DataSplits, *, trust: bool = False) -> ShallowDeepNetwork:
    """The network to be trained, with its starting weights, preprocessing and classes.

    Raises:
        ConfigurationError: the RUN to start from has other classes.
        WeightsMismatchError: weights that do not fit.
        ConversionError: the model cannot be converted.
    """
    seed_everything(config.seed)
    size, count = data.preprocessing.size, len(data.classes)
    if config.init:
        start = load(config.init, trust=trust)
        if start.classes != data.classes:
            raise ConfigurationError(f"Expected the {len(start.classes)} classes of {config.init}, got {count} in {config.data}")
        backbone = start.to_backbone().train()
    else:
        backbone = build(config.model, num_classes=count, image_size=size, pretrained=config.pretrained)
        if config.weights:
            load_weights(backbone, read_state_dict(config.weights), config.weights)
        elif not config.pretrained:
            some = torch.arange(0, len(data.train), max(1, len(data.train) // INITIALISATION_IMAGES))
            initialize_from(backbone, data.preprocessing.normalize(data.train.fetch(some)[0]))
    example = torch.zeros(1, 3, size, size)
    if config.recipe == "backbone":
        network = ShallowDeepNetwork.without_exits(backbone, count_macs(backbone, example))
    else:
        fractions = config.fractions or None
        network = convert(backbone, example, fractions=fractions, heads="pooled")
        if config.conv_heads:
            internal = len(network.exits) - 1
            heads = ["conv"] * min(config.conv_heads, internal) + ["pooled"] * max(0, internal - config.conv_heads)
            network = convert(backbone, example, fractions=fractions, heads=heads)
    network.preprocessing, network.classes = data.preprocessing, data.classes
    return network
