"""DeepSloth: small changes to images that leave every exit undecided, so that nothing leaves early.

It minimises ``sum_k CE(uniform, p_k)`` over pixels by projected sign gradients, within a largest change of each pixel.

Source: Hong, Kaya, Modoranu, Dumitras, "A panda? No, it's a sloth", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import Bar
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.network import ShallowDeepNetwork

GREY_LEVELS = 255  # of 8-bit images: what a server is sent


@dataclass(frozen=True)
class DeepSloth:
    """The attack, as a callable that training can be given.

    Args:
        preprocessing: of the network attacked; changes are bounded in pixels.
        epsilon: largest change of a pixel, of [0, 1].
        step: change a step.
        iterations: steps.
        precision: ``fp32``, or ``bf16`` for autocast.

    Raises:
        ConfigurationError: a number outside its range.
    """

    preprocessing: Preprocessing
    epsilon: float = 8 / GREY_LEVELS
    step: float = 2 / GREY_LEVELS
    iterations: int = 30
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1 or not 0 < self.step <= 1:
            raise ConfigurationError(f"Expected epsilon and step in (0, 1], got {self.epsilon} and {self.step}")
        if self.iterations < 1:
            raise ConfigurationError(f"Expected at least 1 iteration, got {self.iterations}")

    def __call__(self, network: ShallowDeepNetwork, images: Tensor) -> Tensor:
        """Return changed images.

        Args:
            network: attacked in eval mode; its weights and their gradients are left alone.
            images: (B, 3, S, S), normalised.

        Returns:
            (B, 3, S, S), normalised, each of whose pixels is a valid one.
        """
        given = images.detach()
        changed = given.clone()
        with evaluating(network):
            for _ in range(self.iterations):
                changed = self._towards(
                    given, changed - self._scaled(self.step, given) * self._slope(network, changed).sign()
                )
        return changed

    def universal(self, network: ShallowDeepNetwork, batches: Sequence[Tensor], bar: Bar | None = None) -> Tensor:
        """Return one change that slows down most images, made on some and put on any.

        Args:
            network: attacked in eval mode.
            batches: images (B, 3, S, S), normalised, each; every one is used ``iterations`` times.
            bar: moved by the images of each step.

        Returns:
            (1, 3, S, S), to be added to pixels in [0, 1], red, green and blue.
        """
        change = torch.zeros_like(batches[0][:1])
        bound = self._scaled(self.epsilon, change)
        with evaluating(network):
            for _ in range(self.iterations):
                for images in batches:
                    slope = self._slope(network, self._towards(images, images + change)).sum(0, keepdim=True)
                    change = torch.clamp(change - self._scaled(self.step, change) * slope.sign(), -bound, bound)
                    if bar is not None:
                        bar.advance(len(images))
        return _rgb(change * change.new_tensor(self.preprocessing.std).view(1, -1, 1, 1), self.preprocessing)

    def _slope(self, network: ShallowDeepNetwork, images: Tensor) -> Tensor:
        """The loss's gradient by pixel, of each image on its own."""
        leaf = images.detach().requires_grad_()
        with torch.enable_grad(), torch.autocast(leaf.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = network(leaf)
        loss = -torch.log_softmax(logits.float(), dim=-1).mean(-1).sum()  # cross-entropy from the uniform one
        return torch.autograd.grad(loss, leaf)[0]

    def _scaled(self, pixels: float, like: Tensor) -> Tensor:
        """A difference of pixels after normalisation, (1, 3, 1, 1)."""
        return pixels / like.new_tensor(self.preprocessing.std).view(1, -1, 1, 1)

    def _towards(self, given: Tensor, wanted: Tensor) -> Tensor:
        """The nearest image to ``wanted`` within the bound around ``given`` and with valid pixels."""
        mean, std = (given.new_tensor(values).view(1, -1, 1, 1) for values in self._moments())
        bound = self.epsilon / std
        near = torch.maximum(torch.minimum(wanted, given + bound), given - bound)
        return torch.maximum(torch.minimum(near, (1 - mean) / std), -mean / std)

    def _moments(self) -> tuple[Sequence[float], Sequence[float]]:
        return self.preprocessing.mean, self.preprocessing.std


def to_pixels(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return normalised images (B, 3, S, S) as what an 8-bit file holds, uint8: red, green and blue."""
    mean, std = (images.new_tensor(v).view(1, -1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    pixels = ((images * std + mean) * GREY_LEVELS).round().clamp(0, GREY_LEVELS).to(torch.uint8)
    return _rgb(pixels, preprocessing)


def _rgb(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return images or changes (B, 3, S, S) in the network's order of channels as red, green, blue."""
    return images if preprocessing.channel_order == "rgb" else images.flip(1)


def with_perturbation(pixels: Tensor, change: Tensor) -> Tensor:
    """Return images (B, 3, S, S) uint8 with a change (1, 3, S, S) of pixels in [0, 1] added, uint8."""
    return (pixels + change * GREY_LEVELS).round().clamp(0, GREY_LEVELS).to(torch.uint8)
