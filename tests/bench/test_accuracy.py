"""Accuracies on the same images, and the interval of their difference; by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.bench.accuracy import loss_interval, paired_accuracy


def test_both_sides_are_counted_on_the_same_images() -> None:
    """Of five images the static network has four right and the engine three, one of which it alone has."""
    found = paired_accuracy([0, 1, 1, 0, 2], [0, 1, 2, 2, 0], [0, 1, 2, 2, 2])
    assert (found.engine, found.static) == (0.6, 0.8)
    assert found.loss == pytest.approx(0.2)
    assert found.interval == loss_interval(2, 1, 5)


def test_the_interval_is_agresti_and_mins() -> None:
    """Half an image in each cell: 8.5 against 2.5 of 102, so 6/102 +- 1.96 sqrt(11 - 36/102) / 102."""
    low, high = loss_interval(8, 2, 100)
    assert (low + high) / 2 == pytest.approx(6 / 102)
    assert high - low == pytest.approx(2 * 1.959964 * np.sqrt(11 - 36 / 102) / 102, rel=1e-6)


def test_sides_that_never_differ_are_not_certain() -> None:
    """On eight images the interval reaches 19 points to both sides; on thousands it is narrow."""
    low, high = loss_interval(0, 0, 8)
    assert high == pytest.approx(-low)
    assert high == pytest.approx(0.196, abs=1e-3)
    assert loss_interval(0, 0, 5000)[1] < 0.0005


@pytest.mark.parametrize("images", [1, 2, 20])
def test_all_lost_stays_within_what_can_be(images: int) -> None:
    """The interval holds the loss and ends at 1; the other way round it is mirrored."""
    low, high = loss_interval(images, 0, images)
    assert low < 1 == high
    assert loss_interval(0, images, images) == (-1.0, -low)


def test_intervals_hold_the_true_loss_as_often_as_they_say() -> None:
    """In 2,000 draws of 60 pairs, 8 % lost and 3 % gained, at least 93 % of the intervals hold 5 points."""
    drawn = np.random.default_rng(0).multinomial(60, [0.08, 0.03, 0.89], size=2000)
    held = [low <= 0.05 <= high for low, high in (loss_interval(int(a), int(b), 60) for a, b, _ in drawn)]
    assert np.mean(held) >= 0.93
