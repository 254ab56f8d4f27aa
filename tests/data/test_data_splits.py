"""Splits are disjoint, complete, stratified, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shallowdeep.data.splits import cut_calibration, seeded_order, stratified_split
from shallowdeep.errors import ConfigurationError, DataError

LABELS = st.lists(st.integers(0, 5), min_size=3, max_size=80)


def slow_shares(labels: list[int], total: int) -> dict[int, int]:
    """Return how many of each class largest remainders hold out, by a loop over exact integers."""
    classes = sorted(set(labels))
    counts = {label: labels.count(label) for label in classes}
    take = {label: counts[label] * total // len(labels) for label in classes}
    by_remainder = sorted(classes, key=lambda label: (-(counts[label] * total % len(labels)), label))
    for label in by_remainder[: total - sum(take.values())]:
        take[label] += 1
    return take


@settings(max_examples=60, deadline=None)
@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_a_split_is_disjoint_complete_and_stratified(labels: list[int], fraction: float, seed: int) -> None:
    """Against a slow loop, for any labels."""
    kept, held_out = stratified_split(labels, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert kept.tolist() == sorted(kept)
    assert held_out.tolist() == sorted(held_out)
    assert kept.dtype == held_out.dtype == np.int64
    total = min(max(int(len(labels) * fraction + 0.5), 1), len(labels) - 1)
    held = [labels[index] for index in held_out]
    assert {label: held.count(label) for label in set(labels)} == slow_shares(labels, total)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 1000))
def test_calibration_is_cut_in_three_that_are_never_empty(labels: list[int], fraction: float, seed: int) -> None:
    """Train, tune and certify are disjoint and complete; tune is a third of what is held out."""
    train, tune, certify = cut_calibration(labels, fraction, seed)
    assert sorted([*train, *tune, *certify]) == list(range(len(labels)))
    assert min(len(train), len(tune), len(certify)) >= 1
    held = len(tune) + len(certify)
    assert len(tune) == max(int(held / 3 + 0.5), 1)


def test_the_shares_of_a_balanced_dataset_are_exact() -> None:
    """CIFAR-10's: 45,000, then 1,667 and 3,333, as even over the classes as can be."""
    labels = np.tile(np.arange(10), 5000)
    train, tune, certify = cut_calibration(labels, 0.1, 0)
    assert (len(train), len(tune), len(certify)) == (45000, 1667, 3333)
    assert np.bincount(labels[train]).tolist() == [4500] * 10
    assert set(np.bincount(labels[tune]).tolist()) == {166, 167}


def test_the_seed_alone_decides() -> None:
    """Twice the same, and another for another seed; frozen, since promises rest on it."""
    labels = [0, 1] * 10
    first = stratified_split(labels, 0.3, 7)
    assert all((a == b).all() for a, b in zip(first, stratified_split(labels, 0.3, 7), strict=True))
    assert first[1].tolist() != stratified_split(labels, 0.3, 8)[1].tolist()
    assert seeded_order(8, 0).tolist() == [2, 4, 7, 5, 0, 6, 3, 1]


def test_every_seed_of_several_matters() -> None:
    """Epochs and seeds are not added up, and a trailing 0 is not nothing."""
    orders = [tuple(seeded_order(50, *seeds)) for seeds in ((1, 2), (2, 1), (1,), (1, 0), (3, 0))]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.3, -0.1, float("nan")])
def test_a_fraction_outside_the_unit_interval_is_refused(fraction: float) -> None:
    """The message is a contract."""
    with pytest.raises(ConfigurationError, match=rf"Expected calibration fraction in \(0, 1\), got {fraction}"):
        cut_calibration([0, 1, 0, 1], fraction, 0)
    with pytest.raises(ConfigurationError, match=r"Expected test fraction in \(0, 1\)"):
        stratified_split([0, 1, 0, 1], fraction, 0, what="test fraction")


def test_too_few_images_and_negative_seeds_are_refused() -> None:
    """Nothing can be cut from one image."""
    with pytest.raises(DataError, match="at least 2 images to split, got 1"):
        stratified_split([0], 0.5, 0)
    with pytest.raises(DataError, match="at least 3 training images, got 2"):
        cut_calibration([0, 1], 0.5, 0)
    with pytest.raises(ConfigurationError, match="seed of at least 0, got -1"):
        cut_calibration([0, 1, 0, 1], 0.5, -1)
