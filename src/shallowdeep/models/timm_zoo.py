"""timm's classifiers, named `timm:NAME`."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from shallowdeep.errors import ModelError, UnknownNameError, one_line
from shallowdeep.image_size import Size, shown_size
from shallowdeep.models.image_size import RGB
from shallowdeep.models.published_input import PublishedInput
from shallowdeep.models.spec import ModelSpec

PREFIX = "timm:"
CROP_MODES = {"center": "crop", "squash": "stretch", "border": "pad"}
"""What timm's names of crop modes are called here."""


def resolve(name: str) -> ModelSpec:
    """Returns what a `timm:NAME` stands for; its image size is the one in timm's default configuration.

    Args:
        name: the prefix and a name, with or without a weights' tag: `timm:resnet18`, `timm:resnet18.a1_in1k`.

    Raises:
        UnknownNameError: timm has no model of that name.
        ModelError: timm is not installed.
    """
    timm, bare = _find(name)
    size = int(timm.get_pretrained_cfg(bare).input_size[-1])

    def build(num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        return _build(name, num_classes, image_size, channels, pretrained=False)

    return ModelSpec(name, f"timm's {bare}", (size,), build, trusted=True)


def build_pretrained(name: str, num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
    """Returns a network with timm's weights; timm replaces its last layer where the classes differ.

    Raises:
        UnknownNameError: timm has no model of that name.
        ModelError: timm is not installed, or the weights cannot be fetched.
    """
    return _build(name, num_classes, image_size, channels, pretrained=True)


def published_input(name: str) -> PublishedInput:
    """Returns the evaluation transform in timm's configuration of a network; it has one without weights too.

    Raises:
        UnknownNameError: timm has no model of that name.
        ModelError: timm is not installed.
    """
    timm, bare = _find(name)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(bare).to_dict())
    return PublishedInput(
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=str(config["interpolation"]),
        resize=CROP_MODES[config["crop_mode"]],
        crop_share=float(config["crop_pct"]),
        size=int(config["input_size"][-1]),
    )


def _find(name: str) -> tuple[Any, str]:
    """Returns timm and the name without its prefix."""
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(f"{name} needs timm: pip install shallowdeep[zoo] ({one_line(error)})") from error
    bare = name.removeprefix(PREFIX)
    if not timm.is_model(bare):
        raise UnknownNameError("model", name, (PREFIX + other for other in timm.list_models()))
    return timm, bare


def _build(name: str, num_classes: int, image_size: Size, channels: int, *, pretrained: bool) -> nn.Module:
    """Returns what timm builds; whatever goes wrong there is told in one line."""
    timm, bare = _find(name)
    config = timm.get_pretrained_cfg(bare)
    arguments: dict[str, Any] = {} if channels == RGB else {"in_chans": channels}
    if config.fixed_input_size and image_size != config.input_size[-1]:
        arguments["img_size"] = image_size  # transformers size their position embedding when built
    try:
        network: nn.Module = timm.create_model(bare, pretrained=pretrained, num_classes=num_classes, **arguments)
    except Exception as error:
        raise ModelError(
            f"Expected timm to build {name!r} for {shown_size(image_size)} pixels, got {one_line(error)}"
        ) from error
    return network
