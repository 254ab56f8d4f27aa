"""Which cut points are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shallowdeep.errors import ConfigurationError, ConversionError
from shallowdeep.sdn.placement import choose_places, even_fractions, most_places, outermost


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
