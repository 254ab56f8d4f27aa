"""Settings to data and a network with its starting weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.cost import count_macs
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError
from shallowdeep.experiment.config import TrainConfig
from shallowdeep.models.initialization import initialize_from
from shallowdeep.models.registry import build, pretrained_preprocessing, resolve
from shallowdeep.models.weights import load_weights, read_state_dict
from shallowdeep.runtime import seed_everything
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork

INITIALISATION_IMAGES = 5_000
DataProgress = Callable[[str, int, int], None]
"""Told what is read, how many images of it are done, and how many there are."""


def prepare_data(config: TrainConfig, progress: DataProgress | None = None) -> DataSplits:
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
