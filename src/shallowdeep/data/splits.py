"""Labels -> seeded, disjoint, stratified splits (NumPy only).

Random order comes from the raw stream of PCG64, which NumPy promises never to change: a calibration split that moved
with a NumPy release would void the promises made on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.errors import ConfigurationError, DataError

Indices = NDArray[np.int64]

_MINIMUM_TO_CUT = 3  # one image each for train, tune and certify


def seeded_order(count: int, *seeds: int) -> Indices:
    """Return a permutation of range(count) that depends on the seeds only.

    Args:
        count: how many.
        seeds: non-negative; every one matters, and so does their order.

    Raises:
        ConfigurationError: if a seed is negative.
    """
    keys = np.random.PCG64(seed_sequence(*seeds)).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)


def seed_sequence(*seeds: int) -> np.random.SeedSequence:
    """Return the seed made of several.

    Raises:
        ConfigurationError: if one is negative.
    """
    for seed in seeds:
        if seed < 0:
            raise ConfigurationError(f"Expected seed of at least 0, got {seed}")
    return np.random.SeedSequence([len(seeds), *seeds])  # the count in front: (1,) and (1, 0) would else be the same


def stratified_split(
    labels: ArrayLike, fraction: float, seed: int, *, what: str = "calibration fraction"
) -> tuple[Indices, Indices]:
    """Return (kept, held out), each class cut in the same proportion.

    round(fraction * N) indices are held out, at least one and never all. Each class gives the whole part of its share,
    and the classes with the largest remainders give one more (the smaller label first where they tie).

    Args:
        labels: (N,) integers, N >= 2.
        fraction: held out, in (0, 1).
        seed: which members of each class; non-negative.
        what: what an error calls the fraction.

    Returns:
        Two sorted, disjoint int64 arrays that together are range(N).

    Raises:
        ConfigurationError: if the fraction is outside (0, 1) or the seed negative.
        DataError: if there are fewer than two labels.
    """
    if not 0 < fraction < 1:
        raise ConfigurationError(f"Expected {what} in (0, 1), got {fraction}")
    classes = _as_labels(labels)
    if len(classes) < 2:  # noqa: PLR2004 - one to keep, one to hold out
        raise DataError(f"Expected at least 2 images to split, got {len(classes)}")
    return _cut(classes, fraction, seed, minimum=1)


def cut_calibration(labels: ArrayLike, fraction: float, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return (train, tune, certify): the calibration split held out, a third of it tune and two thirds certify.

    Both cuts are stratified; the calibration split has at least two images, whatever the fraction.

    Args:
        labels: (N,) integers, N >= 3.
        fraction: of the calibration split, in (0, 1).
        seed: non-negative.

    Returns:
        Three sorted, disjoint int64 arrays that together are range(N).

    Raises:
        ConfigurationError: if the fraction is outside (0, 1) or the seed negative.
        DataError: if there are fewer than three labels.
    """
    if not 0 < fraction < 1:
        raise ConfigurationError(f"Expected calibration fraction in (0, 1), got {fraction}")
    classes = _as_labels(labels)
    if len(classes) < _MINIMUM_TO_CUT:
        raise DataError(f"Expected at least {_MINIMUM_TO_CUT} training images, got {len(classes)}")
    train, calibration = _cut(classes, fraction, seed, minimum=2)
    tune, certify = cut_held_out(classes[calibration], seed)
    return train, calibration[tune], calibration[certify]


def cut_held_out(labels: ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Return (tune, certify) of images that no training has seen: a third and two thirds, stratified.

    Args:
        labels: (N,) integers, N >= 2.
        seed: non-negative.

    Returns:
        Two sorted, disjoint int64 arrays that together are range(N).

    Raises:
        ConfigurationError: if the seed is negative.
        DataError: if there are fewer than two labels.
    """
    certify, tune = stratified_split(labels, 1 / 3, seed)
    return tune, certify


def _as_labels(labels: ArrayLike) -> Indices:
    """Return the labels as a flat int64 array."""
    return np.asarray(labels, dtype=np.int64).reshape(-1)


def _cut(labels: Indices, fraction: float, seed: int, minimum: int) -> tuple[Indices, Indices]:
    """Return (kept, held out) with at least `minimum` held out and one kept."""
    total = min(max(int(len(labels) * fraction + 0.5), minimum), len(labels) - 1)
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shares = counts * (total / len(labels))
    take = np.floor(shares + 1e-9).astype(np.int64)  # 1e-9: a whole share must not fall below itself by rounding
    remainders = np.round(shares - take, 9)
    take[np.argsort(-remainders, kind="stable")[: total - int(take.sum())]] += 1
    order = seeded_order(len(labels), seed)
    by_class = order[np.argsort(members[order], kind="stable")]  # grouped by class, random within
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = rank < np.repeat(take, counts)
    return np.sort(by_class[~held_out]), np.sort(by_class[held_out])
