"""Settings of a training: TOML or command line to a frozen dataclass."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tomli_w

from shallowdeep.artifacts import CONFIG
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.files import replacing
from shallowdeep.image_size import Size, size_from
from shallowdeep.sdn.placement import MINIMUM_GAP, even_fractions

MOST_EXITS = math.ceil(1 / MINIMUM_GAP) - 1  # internal classifiers that far apart


@dataclass(frozen=True)
class BackdoorAttack:
    """A backdoor put into the training images, for a study; the table ``attack`` of ``config.toml``.

    Attributes:
        trigger: name of what is put on images.
        target: number of the class that they are labelled as.
        poison_ratio: share of the training images that carry it, in (0, 1).
    """

    trigger: str
    target: int = 0
    poison_ratio: float = 0.1


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training gives; ``config.toml`` of a RUN.

    Attributes:
        data: name or path of the dataset.
        model: name of the network.
        recipe: ``backbone``, ``ic-only``, ``joint``, ``mixed`` or ``best``.
        preset: hyper-parameters, ``short`` or ``paper``.
        epochs: instead of the preset's, for the recipe's own phase (both of ``mixed``); 0 keeps it.
        seed: of splits, initial weights, order and augmentation.
        init: RUN whose backbone is taken over, or "".
        weights: state-dict file for the backbone, or "".
        new_head: leave the last layer of ``weights`` out: it starts anew, for the classes of the data.
        pretrained: take torchvision's or timm's published weights.
        train_backbone: let ``ic-only`` train the backbone first, as the recipe ``backbone`` with the same preset would.
        mean: of channels scaled to [0, 1], in the network's order; empty to measure it, or for what the network's
            library publishes with ``weights`` and ``pretrained``.
        std: likewise; weights of your own want the numbers they were trained with.
        preprocessing: ``timm`` or ``torchvision``, for that library's evaluation transform of the network (or its usual
            one); or a file: JSON or TOML with our own keys, Hugging Face's ``preprocessor_config.json``, or timm's
            ``config.json``. What is given beside it wins. A run holds the settings it stands for, and "" here.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``; "" for the preset's, or ``bicubic``.
        resize: of images that are no squares, ``crop``, ``pad`` or ``stretch``; "" for the preset's, or ``crop``.
        crop_share: of the side that the centre crop keeps, in (0, 1]; 0 for the preset's, or 1.
        alpha: transparency on ``white`` or ``black``, or ``drop``; "" for the preset's, or ``white``.
        orientation: ``exif`` to turn images as it says, or ``stored``; "" for the preset's, or ``exif``.
        fill: of the borders of ``pad``, red, green, blue in [0, 255]; empty for the preset's, or black.
        exact_resize: resize from all pixels at once under the default rules too; any other rules do so anyhow.
        channel_order: of the network's input, ``rgb`` or ``bgr``; "" for the preset's, or ``rgb``.
        expect_accuracy: refuse to train where the backbone with its weights is below this on the test part, in (0, 1];
            0 for no check. Nothing is chosen by it.
        augmentation: name of a preset; "" for the one that suits the dataset (in the preset ``short``, half of the
            paper's crop on CIFAR where the backbone learns).
        image_size: side in pixels, or (height, width), in TOML also "96x160"; 0 for the network's own, or the nearer of
            32 and 64.
        channels: of the images: 1 for grey, 3, or 4 for colours and alpha; 0 for those of the preset, or 3.
        fractions: target shares of MACs (or of time) of the internal classifiers; empty for the paper's.
        place_by: ``macs``, or ``time`` for shares of the time that the network takes on this machine.
        timed_heads: give each internal classifier the strongest head that takes at most 3 % of that time.
        time_on: what is measured: RUNTIME:PRECISION[:BATCH], such as ``openvino:int8``; "" for the fastest here.
        conv_heads: how many of the first internal classifiers get a convolution.
        deep_heads: how many of them get convolutions down to 8 pixels a side; ``best`` gives all of them some.
        cascade: let each internal classifier but the first read the logits of the one before it too.
        optimizer: ``sgd``, ``muon`` or ``adamw``, instead of the one that the preset ``short`` takes; "" keeps it.
        learning_rate: peak, instead of the preset's; 0 keeps it.
        batch_size: instead of the preset's; 0 keeps it.
        views: augmented views in the feature cache of ``ic-only``.
        equilibrium: let the trunk receive the mean of all downstream gradients, not their sum (``joint``, ``mixed``,
            ``best``).
        exit_weight: of every internal classifier's loss, beside 1 for the final exit's (likewise); 0 for the
            recipe's: in ``best`` a constant, else the paper's weights, which rise in training.
        distillation: share of the internal classifiers' loss that the final exit teaches (likewise).
        distillation_temperature: of that teaching.
        adversarial_steps: of the slowdown attack against which the exits are hardened, on half of each batch; 0 for
            none (all recipes but ``backbone``).
        adversarial_epsilon: largest change of a pixel in that attack, of 255.
        attack: a backdoor put into the training images, for a study; None for none.
        calibration_fraction: of the training part, held out.
        test_fraction: of the data, where there is no test part.
        text_column: of tables with texts; "" for a usual name, such as ``text`` or ``sentence``.
        max_length: tokens of the longest text; longer ones are cut; 0 for what the network takes.
        skip_bad_images: leave out images that cannot be decoded.
        memory_budget: GiB of decoded images to hold; more streams from disk.
        workers: processes that decode what streams, 0 for the training's own; changes speed alone.
        cache_budget: GiB of disk for cached features.
        precision: ``auto``, ``fp32`` or ``bf16``.
        weights_dtype: of the saved weights, ``fp32`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda`` …
        tensorboard: write event files for TensorBoard into the RUN; changes nothing else.
    """

    data: str
    model: str = ""
    recipe: str = "joint"
    preset: str = "short"
    epochs: int = 0
    seed: int = 0
    init: str = ""
    weights: str = ""
    new_head: bool = False
    pretrained: bool = False
    train_backbone: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    preprocessing: str = ""
    interpolation: str = ""
    resize: str = ""
    crop_share: float = 0.0
    alpha: str = ""
    orientation: str = ""
    fill: tuple[float, ...] = ()
    exact_resize: bool = False
    channel_order: str = ""
    expect_accuracy: float = 0.0
    augmentation: str = ""
    image_size: Size = 0
    channels: int = 0
    fractions: tuple[float, ...] = ()
    place_by: str = "macs"
    timed_heads: bool = False
    time_on: str = ""
    conv_heads: int = 0
    deep_heads: int = 0
    cascade: bool = False
    optimizer: str = ""
    learning_rate: float = 0.0
    batch_size: int = 0
    views: int = 5
    equilibrium: bool = False
    exit_weight: float = 0.0
    distillation: float = 0.0
    distillation_temperature: float = 3.0
    adversarial_steps: int = 0
    adversarial_epsilon: float = 8.0
    attack: BackdoorAttack | None = None
    calibration_fraction: float = 0.1
    test_fraction: float = 0.2
    text_column: str = ""
    max_length: int = 0
    skip_bad_images: bool = False
    memory_budget: float = 2.0
    workers: int = 2
    cache_budget: float = 8.0
    precision: str = "auto"
    weights_dtype: str = "fp32"
    device: str = "auto"
    tensorboard: bool = False


_ATTACK: Mapping[str, type] = {"trigger": str, "target": int, "poison_ratio": float}
_TRAINING: Mapping[str, type] = {
    **{field.name: type(field.default) for field in fields(TrainConfig) if field.name != "attack"}, "data": str,
}  # fmt: skip


def read_settings(path: Path) -> dict[str, Any]:
    """The table in a TOML file, unchecked.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Expected settings in TOML in {path}, got: {error}") from error


def read_config(path: Path) -> TrainConfig:
    """The settings in a TOML file.

    Raises:
        ConfigurationError: not TOML, an unknown key, or a value of the wrong type.
    """
    return config_from(read_settings(path), str(path))


def exit_fractions(text: str) -> tuple[float, ...]:
    """Target fractions from ``0.2,0.5,0.8``, or evenly spaced ones from a number of exits such as ``4``.

    Raises:
        ConfigurationError: neither, or a number of exits that no network has.
    """
    try:
        if text.strip().isdigit():
            if not 1 <= int(text) <= MOST_EXITS:
                raise ConfigurationError(f"Expected 1 to {MOST_EXITS} internal classifiers, got {int(text)}")
            return even_fractions(int(text))
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"Expected a number of exits, or fractions such as 0.2,0.5,0.8, got {text!r}"
        ) from error


def config_from(document: dict[str, Any], source: str) -> TrainConfig:
    """Settings from a dictionary; ``source`` is named in errors.

    The settings of an attack stand in a table of their own; those of runs of version 0.1.0 stand beside the others.

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong type.
    """
    beside = {key: document[key] for key in _ATTACK if key in document}
    table = document.get("attack", beside if beside.get("trigger") else None)
    rest = {key: value for key, value in document.items() if key not in {"attack", *_ATTACK}}
    values = _values(rest, _TRAINING, source)
    if not values.get("data"):
        raise ConfigurationError(f"Expected data in {source} or by --data, got none")
    return TrainConfig(**values, attack=None if table is None else _attack(table, source))


def _attack(table: Any, source: str) -> BackdoorAttack:  # noqa: ANN401 - any TOML value
    if not isinstance(table, dict) or not table.get("trigger"):
        raise ConfigurationError(f"Expected a table with a trigger as attack in {source}, got {table!r}")
    return BackdoorAttack(**_values(table, _ATTACK, source))


def _values(document: dict[str, Any], kinds: Mapping[str, type], source: str) -> dict[str, Any]:
    """The values in a dictionary, once their types are known to be right."""
    for key in document:
        if key not in kinds:
            raise UnknownNameError(f"setting in {source}", key, kinds)
    return {key: _typed(key, value, kinds[key]) for key, value in document.items()}


def channel_numbers(text: str) -> tuple[float, ...]:
    """Numbers, one for each channel, from ``0.485,0.456,0.406``.

    Raises:
        ConfigurationError: something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"Expected numbers such as 0.485,0.456,0.406, got {text!r}") from error


def _typed(key: str, value: Any, kind: type) -> Any:  # noqa: ANN401 - any TOML value
    if key == "image_size" and value != 0:
        return size_from(value)
    if kind is tuple and isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value):
        return tuple(float(v) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigurationError(f"Expected {key} to be of type {kind.__name__}, got {value!r}")
    return value


def write_config(config: TrainConfig, directory: Path) -> None:
    """Write ``config.toml`` to a RUN."""
    document = {key: value for key, value in plain(config).items() if value is not None}
    with replacing(directory / CONFIG) as temporary:
        temporary.write_text(tomli_w.dumps(document))
