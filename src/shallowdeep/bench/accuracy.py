"""Accuracy of engine and static network on the same images, and what the engine loses (no torch)."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.95


class PairedAccuracy(NamedTuple):
    """How often both sides are right on the same images.

    Attributes:
        engine: its accuracy, a fraction.
        static: that of the static network.
        loss: static minus engine; negative where the engine is right more often.
        interval: low and high end of a 95 % interval of the loss.
    """

    engine: float
    static: float
    loss: float
    interval: tuple[float, float]


def paired_accuracy(engine: ArrayLike, static: ArrayLike, labels: ArrayLike) -> PairedAccuracy:
    """Return both accuracies and the loss.

    Args:
        engine: (N,) integers, the engine's answers; N is at least 1.
        static: (N,) integers, the static network's.
        labels: (N,) integers, the right ones.
    """
    right, static_right = np.asarray(engine) == labels, np.asarray(static) == labels
    images = len(right)
    lost, gained = int(np.sum(static_right & ~right)), int(np.sum(right & ~static_right))
    return PairedAccuracy(
        engine=float(right.mean()),
        static=float(static_right.mean()),
        loss=(lost - gained) / images,
        interval=loss_interval(lost, gained, images),
    )


def loss_interval(lost: int, gained: int, images: int) -> tuple[float, float]:
    """Return a 95 % interval of a difference of two accuracies on the same images.

    It has a width where the two never differ, and holds for a few images too, which a bootstrap does not.

    Args:
        lost: images that only the static network has right.
        gained: images that only the engine has right.
        images: N, all of them; at least 1.

    Source:
        Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
        Medicine, 2005: Wald's interval after half an image is added to each of the four cells.
    """
    total = images + 2
    difference, differing = lost - gained, lost + gained + 1
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * sqrt(differing - difference**2 / total) / total
    middle = difference / total
    return max(-1.0, middle - half), min(1.0, middle + half)
