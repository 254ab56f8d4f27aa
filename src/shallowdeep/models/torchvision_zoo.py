"""torchvision's classifiers, named `torchvision:NAME`."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from shallowdeep.errors import ModelError, UnknownNameError, one_line
from shallowdeep.image_size import Size, sides
from shallowdeep.models.classifier_head import replace_classifier
from shallowdeep.models.image_size import check_rgb
from shallowdeep.models.published_input import PublishedInput, crop_share_of
from shallowdeep.models.spec import ModelSpec

PREFIX = "torchvision:"
USUAL_SIZE = 224
"""Pixels; for a network that is published without weights."""


def resolve(name: str) -> ModelSpec:
    """Returns what a `torchvision:NAME` stands for; its image size is the one its weights were published for.

    Raises:
        UnknownNameError: torchvision has no classifier of that name.
        ModelError: torchvision is not installed.
    """
    models, bare = _find(name)
    weights = _default_weights(models, bare)
    size = USUAL_SIZE if weights is None else int(weights.transforms.keywords["crop_size"])

    def build(num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        check_rgb(name, channels)
        arguments = _arguments(bare, image_size, size)
        if bare in {"googlenet", "inception_v3"}:
            arguments["init_weights"] = True
        return _build(name, models, bare, num_classes=num_classes, **arguments)

    return ModelSpec(name, f"torchvision's {bare}", (size,), build, trusted=True)


def build_pretrained(name: str, num_classes: int, image_size: Size) -> nn.Module:
    """Returns a network with torchvision's default weights, its last layer replaced where the classes differ.

    Raises:
        UnknownNameError: torchvision has no classifier of that name.
        ModelError: torchvision is not installed, or the weights cannot be fetched or do not fit the image size.
    """
    models, bare = _find(name)
    weights = _default_weights(models, bare)
    if weights is None:
        raise ModelError(f"Expected pretrained weights for {name!r}, but torchvision publishes none")
    size = int(weights.transforms.keywords["crop_size"])
    network = _build(name, models, bare, weights=weights, **_arguments(bare, image_size, size))
    if getattr(network, "transform_input", False):
        raise ModelError(
            f"Expected weights for plainly normalised images, but those of {name!r} rescale their input inside the "
            "network, which a saved network does not"
        )
    replace_classifier(network, len(weights.meta["categories"]), num_classes)
    return network


def published_input(name: str) -> PublishedInput | None:
    """Returns the evaluation transform of the default weights, or None where there are none.

    Raises:
        UnknownNameError: torchvision has no classifier of that name.
        ModelError: torchvision is not installed.
    """
    weights = _default_weights(*_find(name))
    if weights is None:
        return None
    transforms = weights.transforms()
    size, resized = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    return PublishedInput(
        mean=tuple(transforms.mean), std=tuple(transforms.std), interpolation=str(transforms.interpolation.value),
        crop_share=crop_share_of(size, resized), size=size,
    )  # fmt: skip


def _find(name: str) -> tuple[Any, str]:
    """Returns torchvision's module of models and the name without its prefix."""
    try:
        models: Any = importlib.import_module("torchvision.models")
    except ImportError as error:
        raise ModelError(f"{name} needs torchvision: pip install shallowdeep[zoo] ({one_line(error)})") from error
    bare = name.removeprefix(PREFIX)
    known = models.list_models(module=models)  # classifiers only: detection and video live in submodules
    if bare not in known:
        raise UnknownNameError("model", name, (PREFIX + other for other in known))
    return models, bare


def _default_weights(models: Any, bare: str) -> Any:  # noqa: ANN401 - torchvision is not typed
    """Returns torchvision's description of the default weights, or None; nothing is downloaded."""
    choices = list(models.get_model_weights(bare))
    return models.get_model_weights(bare).DEFAULT if choices else None


def _arguments(bare: str, image_size: Size, usual_size: int) -> dict[str, Any]:
    """Returns what some builders need to know beyond the number of classes."""
    if bare in {"googlenet", "inception_v3"}:
        return {"aux_logits": False}  # training would return a tuple of logits otherwise
    if image_size == usual_size:
        return {}
    if bare.startswith("vit_"):
        return {"image_size": max(sides(image_size))}
    if bare.startswith("maxvit"):
        return {"input_size": sides(image_size)}
    return {}


def _build(name: str, models: Any, bare: str, **arguments: Any) -> nn.Module:  # noqa: ANN401 - torchvision is not typed
    """Returns what torchvision builds; whatever goes wrong there is told in one line."""
    try:
        network: nn.Module = models.get_model(bare, **arguments)
    except Exception as error:
        raise ModelError(f"Expected torchvision to build {name!r}, got {one_line(error)}") from error
    return network
