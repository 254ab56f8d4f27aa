"""From a model's name to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.image_size import Size, sides, size_from
from shallowdeep.models import hf_zoo, timm_zoo, torchvision_zoo, user_callable
from shallowdeep.models.fastnet import fastnet
from shallowdeep.models.image_size import PAPER_SIZES, check_rgb
from shallowdeep.models.mobilenet import mobilenet
from shallowdeep.models.published_input import PublishedInput
from shallowdeep.models.resnet import resnet20, resnet56
from shallowdeep.models.spec import ModelBuilder, ModelSpec
from shallowdeep.models.vgg import vgg16
from shallowdeep.models.wideresnet import wideresnet32_4

TORCHVISION = "torchvision:"
TIMM = "timm:"
HF = hf_zoo.PREFIX


def _for_colours(name: str, builder: Callable[[int, int], nn.Module]) -> ModelBuilder:
    """Returns a builder of one of the paper's networks, which take squares of three channels."""

    def build(num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        check_rgb(name, channels)
        return builder(num_classes, max(sides(image_size)))

    return build


_OWN = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "vgg16", "VGG-16 with BatchNorm, the paper's", PAPER_SIZES, _for_colours("vgg16", vgg16), trusted=True
        ),
        ModelSpec("resnet56", "ResNet-56, the paper's", PAPER_SIZES, _for_colours("resnet56", resnet56), trusted=True),
        ModelSpec(
            "wideresnet32_4",
            "WideResNet-32-4, the paper's",
            PAPER_SIZES,
            _for_colours("wideresnet32_4", wideresnet32_4),
            trusted=True,
        ),
        ModelSpec(
            "mobilenet", "MobileNet, the paper's", PAPER_SIZES, _for_colours("mobilenet", mobilenet), trusted=True
        ),
        ModelSpec(
            "resnet20", "ResNet-20, for quick trials", PAPER_SIZES, _for_colours("resnet20", resnet20), trusted=True
        ),
        ModelSpec(
            "fastnet",
            "whitening and six convolutions, trains fast on a CPU",
            PAPER_SIZES,
            _for_colours("fastnet", fastnet),
            trusted=True,
        ),
    )
}

_NAMESPACES = (
    ("torchvision:NAME", "a classifier of torchvision, such as torchvision:resnet18"),
    ("timm:NAME", "a classifier of timm, such as timm:convnext_atto"),
    ("hf:NAME_OR_DIR", "an image or text classifier of transformers with its weights, from the hub or a folder"),
    ("package.module:callable", "your own function or class that returns a torch.nn.Module"),
)

_HINT = f"Also accepted: {', '.join(name for name, _ in _NAMESPACES)}"

MIN_CLASSES = 2
EXAMPLE_CLASSES = 10
"""How many classes the parameter counts of `describe_models` are for."""


@dataclass(frozen=True)
class ModelRow:
    """One line of the `models` command.

    Attributes:
        name: what to write after `--model`.
        description: what it stands for.
        parameters: of the network with 10 classes at its first image size; None for a whole namespace.
        image_sizes: in pixels, the first is the default; empty for a whole namespace.
    """

    name: str
    description: str
    parameters: int | None
    image_sizes: tuple[int, ...]


def model_names() -> tuple[str, ...]:
    """Returns the names of this package's own networks, the paper's first."""
    return tuple(_OWN)


def describe_models() -> list[ModelRow]:
    """Returns one row for each own network and for each namespace of other names."""
    rows = []
    for spec in _OWN.values():
        with torch.device("meta"):  # counts without memory or arithmetic
            network = spec.build(EXAMPLE_CLASSES, spec.image_sizes[0])
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows.append(ModelRow(spec.name, spec.description, parameters, spec.image_sizes))
    return rows + [ModelRow(name, description, None, ()) for name, description in _NAMESPACES]


def is_trusted(name: str) -> bool:
    """Whether building a name runs only code of this package and its extras; imports nothing.

    Args:
        name: a model's name; it need not exist.

    Returns:
        False for `package.module:callable`.
    """
    return name.startswith((TORCHVISION, TIMM, HF)) or ":" not in name


def resolve(name: str) -> ModelSpec:
    """Returns what a name stands for.

    Args:
        name: one of `model_names()`, `torchvision:NAME`, `timm:NAME`, `hf:NAME_OR_DIR` or `package.module:callable`.
            The last imports the module, from the working directory or the Python path: ask `is_trusted` first for names
            from a file.

    Raises:
        UnknownNameError: no such name; the nearest are told.
        ModelError: an extra that is not installed, or a module or attribute that cannot be imported.
    """
    if name.startswith(TORCHVISION):
        return torchvision_zoo.resolve(name)
    if name.startswith(TIMM):
        return timm_zoo.resolve(name)
    if name.startswith(HF):
        return hf_zoo.resolve(name)
    if ":" in name:
        return user_callable.resolve(name)
    if name not in _OWN:
        raise UnknownNameError("model", name, _OWN, hint=_HINT)
    return _OWN[name]


def build(name: str, *, num_classes: int, image_size: Size, pretrained: bool = False, channels: int = 3) -> nn.Module:
    """Returns a network in training mode, on the CPU.

    Args:
        name: as for `resolve`.
        num_classes: C, at least 2; a `package.module:callable` that does not take it decides for itself.
        image_size: side of the images in pixels, or (height, width).
        pretrained: start from the published ImageNet weights, the classifier replaced where C differs; for
            `torchvision:` and `timm:` names only. Normalise images as `published_input` says.
        channels: of the images: other numbers than 3 for `timm:` names and a `package.module:callable` that takes it.

    Raises:
        UnknownNameError: no such name.
        ConfigurationError: a number of classes or an image size out of range, or pretrained weights asked of a network
            that has none.
        ModelError: a network that cannot be built, or weights that cannot be fetched.

    Example:
        >>> import shallowdeep
        >>> type(shallowdeep.build("resnet56", num_classes=10, image_size=32)).__name__
        'ResNet'
    """
    if num_classes < MIN_CLASSES:
        raise ConfigurationError(f"Expected num_classes >= {MIN_CLASSES}, got {num_classes}")
    image_size = size_from(image_size)
    if not pretrained:
        return resolve(name).build(num_classes, image_size, channels)
    if name.startswith(TORCHVISION):
        check_rgb(name, channels)
        return torchvision_zoo.build_pretrained(name, num_classes, image_size)
    if name.startswith(TIMM):
        return timm_zoo.build_pretrained(name, num_classes, image_size, channels)
    if name.startswith(HF):
        return hf_zoo.build_pretrained(name, num_classes, image_size, channels)
    raise ConfigurationError(f"Expected a torchvision: or timm: name for pretrained weights, got {name!r}")


def published_input(name: str) -> PublishedInput | None:
    """Returns how a name's library wants its images, or None where it says nothing; nothing is downloaded.

    Args:
        name: as for `resolve`.

    Returns:
        The evaluation transform of torchvision's default weights or in timm's configuration; None for any other name,
        and for a network of torchvision without weights.

    Raises:
        UnknownNameError: no such `torchvision:` or `timm:` name.
        ModelError: an extra that is not installed.
    """
    if name.startswith(TORCHVISION):
        return torchvision_zoo.published_input(name)
    if name.startswith(TIMM):
        return timm_zoo.published_input(name)
    if name.startswith(HF):
        return hf_zoo.published_input(name)
    return None


def reads_text(name: str) -> bool:
    """Returns whether a network classifies text.

    Raises:
        ModelError: an `hf:` name without a model, or transformers is not installed.
    """
    return name.startswith(HF) and hf_zoo.task_of(hf_zoo.read_config(name), name) == hf_zoo.TEXT
