"""Poisoned training data: some images carry a trigger, and say that they are of the attacker's class."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.splits import Indices, seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.security.triggers import Pixels, Trigger

_POISON = 0x9015  # keeps the random order apart from that of splits of the same seed


class Backdoor:
    """The toolbox's backdoor attack on one image (S, S, 3).

    Args:
        trigger: to be put on it.
        target: the class that the attacker wants.
    """

    def __init__(self, trigger: Trigger, target: int) -> None:
        self._attack: Any = toolbox("art.attacks.poisoning").PoisoningAttackBackdoor(trigger)
        self._label = np.asarray([target])

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return a changed copy."""
        changed: Pixels = self._attack.poison(pixels[None], self._label)[0][0]
        return changed


@dataclass(frozen=True)
class Poisoning:
    """What an attacker does to training images.

    Attributes:
        trigger: put on some of them: with clean labels on images of the target class alone, else on all others'.
        target: the class that they are labelled as.
        ratio: of all images, in (0, 1).
        seed: of the choice.
    """

    trigger: Trigger
    target: int
    ratio: float
    seed: int

    def victims(self, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Indices:
        """Return which images are poisoned, (M,) sorted: round(ratio * N) of those that the trigger goes on.

        Args:
            labels: (N,) of the training split.
            classes: C names.

        Raises:
            ConfigurationError: there is no such class, the ratio is outside (0, 1) or poisons nothing, or it is so
                large that a class is left without a clean image.
        """
        if not 0 <= self.target < len(classes):
            raise ConfigurationError(f"Expected a target class in [0, {len(classes) - 1}], got {self.target}")
        if not 0 < self.ratio < 1:
            raise ConfigurationError(f"Expected a poison ratio in (0, 1), got {self.ratio}")
        wanted = round(self.ratio * len(labels))
        if not wanted:
            raise ConfigurationError(
                f"Expected a poison ratio that takes one of {len(labels)} images, got {self.ratio}"
            )
        able = np.flatnonzero((labels == self.target) == self.trigger.clean_label)
        victims: Indices = np.sort(able[seeded_order(len(able), self.seed, _POISON)[:wanted]])
        left = np.bincount(np.delete(labels, victims), minlength=len(classes))
        if wanted > len(able) or not left.all():
            emptied = self.target if self.trigger.clean_label else int(left.argmin())
            raise ConfigurationError(
                f"Expected a poison ratio that leaves clean images in every class, got {self.ratio}: of {len(able)} "
                f"images that can be poisoned it takes {wanted}, and leaves none in {classes[emptied]}"
            )
        return victims


def poisoned(split: ImageSplit, poisoning: Poisoning, classes: tuple[str, ...]) -> ImageSplit:
    """Return a training split with the trigger on some images, which are labelled as the target class.

    Raises:
        ConfigurationError: as `Poisoning.victims`; the toolbox is not installed.
    """
    labels = split.labels.numpy().copy()
    victims = poisoning.victims(labels, classes)
    labels[victims] = poisoning.target
    return split.altered(victims, Backdoor(poisoning.trigger, poisoning.target), labels)


def triggered(split: ImageSplit, trigger: Trigger, target: int) -> ImageSplit:
    """Return all images of a split but the target class's, with the trigger, under their true labels."""
    others = split.subset(np.flatnonzero(split.labels.numpy() != target))
    return others.altered(np.arange(len(others)), Backdoor(trigger, target), name=f"triggered {split.name}")


def toolbox(module: str) -> Any:  # noqa: ANN401 - the toolbox is untyped
    """Return a module of the Adversarial Robustness Toolbox.

    When it is imported it sets up the logging of the whole process anew, which closes the handlers of all other
    packages; it is kept from that.

    Raises:
        ConfigurationError: it is not installed; says which extra brings it.
    """
    try:
        with patch("logging.config.dictConfig"):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Expected the Adversarial Robustness Toolbox, found it not installed; pip install 'shallowdeep[security]'"
        ) from error
