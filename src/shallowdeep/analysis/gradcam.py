"""Grad-CAM: where in an image an exit finds a class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from shallowdeep.errors import ConfigurationError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.feature_reduction import ConvReduction, PooledReduction, VectorReduction
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import ShallowDeepNetwork

_COLOURS = "viridis"  # even steps of lightness, told apart with any kind of colour vision
_OPACITY = 0.75  # of the hottest pixel: the image still shows through
_MAP_RANK, _TOKENS_RANK = 4, 3


def exit_maps(network: ShallowDeepNetwork, images: Tensor, exit_: int, classes: Tensor) -> Tensor:
    """Return how much each place of an image speaks for a class at an exit.

    ``relu(sum_c w_c A_c)`` of the feature maps A (N, C, h, w), where ``w_c`` is the mean over positions of the gradient
    of the class's logit, upsampled bilinearly to the image and divided by its maximum. For an internal classifier A is
    what it reads; for the final exit, the last map of more than one position that a module of the backbone puts out, or
    what the last internal classifier reads where that comes later or the last map has its channels last.

    Modes, ``requires_grad`` flags and gradients of the network are left as they were; it is run in eval mode.

    Args:
        network: with or without internal classifiers, its backbone frozen or not.
        images: (N, 3, H, W) float, normalised, on the network's device.
        exit_: in [0, E).
        classes: (N,) integers in [0, C), one for each image.

    Returns:
        (N, H, W) float32 in [0, 1], on the images' device; a map where nothing speaks for the class is all zero.

    Raises:
        ConfigurationError: no such exit, what it stands on is no map (tokens, vectors, a single position), or captum is
            not installed.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, section 3; at internal classifiers Kaya et al. 2019, section 5.
    """
    if not 0 <= exit_ < len(network.exits):
        raise ConfigurationError(f"Expected exit in [0, {len(network.exits)}), got {exit_}")
    final = exit_ == len(network.exits) - 1
    if not final or network.internal_classifiers:
        _check_reads_map(network, min(exit_, len(network.internal_classifiers) - 1), final=final)
    grad_cam = _layer_grad_cam()
    if not len(images):
        return torch.zeros_like(images[:, 0], dtype=torch.float32)
    with evaluating(network):
        images = images.detach()
        found = _final_reading(network, images) if final else _internal_reading(network, images, exit_)
        maps = grad_cam(found.forward, found.layer).attribute(
            found.inputs,
            target=classes.to(images.device),
            attribute_to_layer_input=found.layer is found.forward,
            relu_attributions=True,
        )  # (N, 1, h, w)
    heat = F.interpolate(maps.detach().float(), images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    largest = heat.amax(dim=(1, 2), keepdim=True)
    return heat / torch.where(largest > 0, largest, 1)


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return an image with a map laid over it: viridis, the more opaque the hotter.

    Args:
        image: (S, S, 3) uint8.
        heat: (S, S) floating in [0, 1].

    Returns:
        (S, S, 3) uint8; the image itself where the map is 0.
    """
    colours = 255 * np.asarray(colormaps[_COLOURS](heat))[..., :3]
    alpha = _OPACITY * np.asarray(heat, dtype=np.float64)[..., None]
    mixed: NDArray[np.uint8] = np.rint((1 - alpha) * image + alpha * colours).astype(np.uint8)
    return mixed


class _Reading(NamedTuple):
    """What runs, the module whose map is looked at (its input where it is what runs), and what is put in."""

    forward: Callable[[Tensor], Tensor]
    layer: nn.Module
    inputs: Tensor


class _MapReader(nn.Module):
    """A function of a map, as the module that captum wants; it takes the map with its channels first."""

    def __init__(self, read: Callable[[Tensor], Tensor], *, channels_last: bool) -> None:
        super().__init__()
        self.read = read
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x.permute(0, 2, 3, 1) if self.channels_last else x)


def _internal_reading(network: ShallowDeepNetwork, images: Tensor, exit_: int) -> _Reading:
    """Internal classifier ``exit_`` on the map it reads; later stages, which may change it in place, are not run."""
    if _positions(network, exit_, _stage_output(network, images[:1], exit_)) == 1:
        raise _refusal(f"a map of a single position at {network.exits[exit_].name}")
    classifier = _classifier(network, exit_)

    def read(x: Tensor) -> Tensor:
        """Without what a cascade adds, which no gradient of the map goes through."""
        logits: Tensor = classifier(x, x.new_zeros(len(x), classifier.linear.out_features))
        return logits

    return _reading_from(network, images, exit_, read)


def _final_reading(network: ShallowDeepNetwork, images: Tensor) -> _Reading:
    """The final classifier on the deepest map.

    Stages call the modules inside the backbone's blocks, the backbone itself calls the blocks too: their outputs hold
    what is added after the last module inside.
    """
    backbone = network.backbone
    deepest = _deepest(backbone, partial(backbone, images[:1]))
    known = deepest is not None and _channels_first(deepest[1], images)
    last = len(network.internal_classifiers) - 1
    if last >= 0 and _reads_map(_classifier(network, last)):
        x = _stage_output(network, images[:1], last)
        tail = partial(network.stages[-1], backbone)
        if _positions(network, last, x) > 1 and not (known and _deepest(backbone, partial(tail, x))):
            return _reading_from(network, images, last, tail)
    if deepest is None or not known:
        shape = "vectors" if deepest is None else f"outputs of shape {tuple(deepest[1])}"
        raise _refusal(f"{shape} before the head of {type(backbone).__name__}")
    # with weights that need no gradient, nothing before the map is kept for a backward pass that stops at it
    weights = {name: weight.detach() for name, weight in backbone.named_parameters()}
    return _Reading(partial(functional_call, backbone, weights), deepest[0], images)


def _reading_from(
    network: ShallowDeepNetwork, images: Tensor, exit_: int, read: Callable[[Tensor], Tensor]
) -> _Reading:
    """A function of what internal classifier ``exit_`` reads."""
    last = _channels_last(_classifier(network, exit_))
    x = _stage_output(network, images, exit_)
    reader = _MapReader(read, channels_last=last)
    return _Reading(reader, reader, x.permute(0, 3, 1, 2) if last else x)


@torch.no_grad()
def _stage_output(network: ShallowDeepNetwork, images: Tensor, exit_: int) -> Tensor:
    """What internal classifier ``exit_`` reads."""
    x = images
    for stage in network.stages[: exit_ + 1]:
        x = stage(network.backbone, x)
    return x


@torch.no_grad()
def _deepest(backbone: nn.Module, run: Callable[[], Tensor]) -> tuple[nn.Module, torch.Size] | None:
    """The module of ``backbone`` whose last output comes latest in ``run`` among maps and tokens, and that shape."""
    shapes: dict[nn.Module, torch.Size | None] = {}

    def remember(module: nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401 - modules put out anything
        shapes.pop(module, None)  # a module that is used again stands where it was used last
        shapes[module] = output.shape if isinstance(output, Tensor) else None

    hooks = [module.register_forward_hook(remember) for module in backbone.modules()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    found = ((module, shape) for module, shape in reversed(shapes.items()) if shape is not None and _spread(shape))
    return next(found, None)


def _spread(shape: torch.Size) -> bool:
    """Whether an output is tokens or a map, of more than one position."""
    if len(shape) == _TOKENS_RANK:
        return shape[1] > 1
    return len(shape) == _MAP_RANK and shape[2] > 1  # (N, C, 1, 1) and (N, 1, 1, C) are vectors


def _channels_first(shape: torch.Size, images: Tensor) -> bool:
    """Whether an output is (N, C, H, W), told by its sides, which have the proportions of the images."""
    return len(shape) == _MAP_RANK and shape[2] * images.shape[3] == shape[3] * images.shape[2]


def _classifier(network: ShallowDeepNetwork, exit_: int) -> InternalClassifier:
    return cast("InternalClassifier", network.internal_classifiers[exit_])


def _reads_map(classifier: InternalClassifier) -> bool:
    return isinstance(classifier.reduction, (PooledReduction, ConvReduction))


def _channels_last(classifier: InternalClassifier) -> bool:
    return bool(getattr(classifier.reduction, "channels_last", False))


def _positions(network: ShallowDeepNetwork, exit_: int, x: Tensor) -> int:
    """How many positions the map has that internal classifier ``exit_`` reads."""
    height, width = x.shape[1:3] if _channels_last(_classifier(network, exit_)) else x.shape[2:4]
    return height * width


def _check_reads_map(network: ShallowDeepNetwork, exit_: int, *, final: bool) -> None:
    """Raise ConfigurationError if an internal classifier reads tokens, or vectors unless the final one is asked.

    The last internal classifier may stand inside a head of several layers, on vectors, with maps before it.
    """
    classifier = _classifier(network, exit_)
    if not _reads_map(classifier) and not (final and isinstance(classifier.reduction, VectorReduction)):
        kind = "vectors" if isinstance(classifier.reduction, VectorReduction) else "tokens"
        raise _refusal(f"{kind} at {network.exits[exit_].name} of {type(network.backbone).__name__}")


def _refusal(found: str) -> ConfigurationError:
    return ConfigurationError(f"Expected a convolutional network for Grad-CAM, got {found}")


def _layer_grad_cam() -> Any:  # noqa: ANN401 - captum has no type hints for its users
    """The class of captum, imported when it is used: it comes with an extra, and takes a second.

    Raises:
        ConfigurationError: it is not installed; says which extra brings it.
    """
    try:
        return importlib.import_module("captum.attr").LayerGradCam
    except ModuleNotFoundError as error:
        package = (error.name or "captum").split(".")[0]
        raise ConfigurationError(
            f"Expected {package} for Grad-CAM, found it not installed; pip install 'shallowdeep[report]'"
        ) from error
