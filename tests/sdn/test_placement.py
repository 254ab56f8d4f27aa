"""Which cut points are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.sdn.placement import (
    by_time,
    choose_places,
    even_fractions,
    most_places,
    outermost,
    strongest_within,
)


@dataclass(frozen=True)
class Spot:
    """A place without a network."""

    depth: float
    level: int = 1


def spots(*depths: float) -> list[Spot]:
    """Places of one level."""
    return [Spot(depth) for depth in depths]


def test_nearest_places_are_taken() -> None:
    """With room enough each fraction gets its nearest place."""
    assert choose_places(spots(0.1, 0.28, 0.4, 0.62, 0.8), (0.3, 0.6)) == [1, 3]


def test_gap_moves_the_cheaper_of_two() -> None:
    """Where two fractions want one place, the sum decides: .28, .34 miss .30, .33 by .03; .30, .40 by .07."""
    assert choose_places(spots(0.1, 0.28, 0.30, 0.34, 0.40), (0.30, 0.33)) == [1, 3]


def test_a_gap_of_exactly_the_minimum_is_enough() -> None:
    """Two places 5 % apart may both be taken."""
    assert choose_places(spots(0.25, 0.3125), (0.25, 0.3), minimum_gap=0.0625) == [0, 1]


def test_outer_modules_win_nearby() -> None:
    """A cut inside a module gives way to one that closes an outer module within 5 %, but stays elsewhere."""
    places = [Spot(0.30, level=3), Spot(0.32, level=1), Spot(0.50, level=3)]
    assert outermost(places) == [1, 2]
    assert choose_places(places, (0.30, 0.5)) == [1, 2]


def test_inner_places_fill_in_where_outer_ones_are_too_few() -> None:
    """When the outermost places do not suffice, inner ones are used."""
    places = [Spot(0.30, level=2), Spot(0.32, level=1), Spot(0.34, level=2), Spot(0.50, level=2)]
    assert choose_places(places, (0.3, 0.4, 0.5), minimum_gap=0.02) == [0, 2, 3]


@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True).map(sorted),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(sorted),
)
def test_choice_is_the_best_of_all(depths: list[int], fractions: list[int]) -> None:
    """The dynamic programme finds the least summed distance of all admissible choices, or refuses when none is."""
    places = spots(*(depth / 100 for depth in depths))
    targets = [fraction / 100 for fraction in fractions]

    def distance(chosen: tuple[int, ...] | list[int]) -> float:
        return sum(abs(places[i].depth - target) for i, target in zip(chosen, targets, strict=True))

    admissible = [
        chosen
        for chosen in combinations(range(len(places)), len(targets))
        if all(places[b].depth - places[a].depth >= 0.05 for a, b in pairwise(chosen))
    ]
    if not admissible:
        with pytest.raises(ConversionError):
            choose_places(places, targets)
        return
    assert distance(choose_places(places, targets)) == pytest.approx(min(map(distance, admissible)))


def test_too_many_are_refused_with_the_number_possible() -> None:
    """Three places of which two are 5 % apart hold two classifiers."""
    places = spots(0.30, 0.32, 0.50)
    assert most_places(places) == 2
    with pytest.raises(ConversionError, match=r"at most 2 internal classifiers \(3 cut points, 5% of.* got 3"):
        choose_places(places, (0.3, 0.4, 0.5))


@pytest.mark.parametrize("fractions", [(0.0,), (1.0,), (-0.1,), (0.5, 1.2), (float("nan"),)])
def test_fractions_outside_the_open_interval(fractions: tuple[float, ...]) -> None:
    """Only (0, 1) is accepted."""
    with pytest.raises(ConfigurationError, match=r"\(0, 1\)"):
        choose_places(spots(0.5), fractions)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.6, 0.3)])
def test_fractions_must_increase(fractions: tuple[float, ...]) -> None:
    """Equal or falling fractions are refused."""
    with pytest.raises(ConfigurationError, match="increase"):
        choose_places(spots(0.3, 0.6), fractions)


def test_no_fraction_is_no_place() -> None:
    """An empty list asks for no internal classifier."""
    assert choose_places(spots(0.5), ()) == []


def test_even_fractions() -> None:
    """Three fractions are the quarters."""
    assert even_fractions(3) == (0.25, 0.5, 0.75)


def test_times_take_the_place_of_macs() -> None:
    """Half of the MACs may be a quarter of the time; a place measured quicker than one before it counts as that one."""
    timed = by_time([Spot(0.2), Spot(0.5, 3), Spot(0.8)], [1.0, 0.9, 3.0], 4.0)
    assert [(place.depth, place.level) for place in timed] == [(0.25, 1), (0.25, 3), (0.75, 1)]
    assert choose_places(timed, (0.7,)) == [2]


@pytest.mark.parametrize(("seconds", "whole"), [([1.0], 2.0), ([1.0, 1.5], 0.0)])
def test_times_that_tell_nothing_are_refused(seconds: list[float], whole: float) -> None:
    """Each place needs a time, and the whole one above 0."""
    with pytest.raises(ConfigurationError, match="Expected seconds up to each of 2 cut points"):
        by_time(spots(0.2, 0.5), seconds, whole)


@pytest.mark.parametrize(
    ("shares", "expected"), [((0.05, 0.03, 0.01), "b"), ((0.02, 0.03, 0.01), "a"), ((0.09, 0.05, 0.06), "b")]
)
def test_the_strongest_head_within_a_share_is_taken(shares: tuple[float, ...], expected: str) -> None:
    """Heads come from strong to cheap, not always from slow to quick; where none is quick enough, the quickest."""
    assert strongest_within(("a", "b", "c"), shares, 0.03) == expected
