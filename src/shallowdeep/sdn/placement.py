"""Which cut points get an internal classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf
from typing import Protocol

from shallowdeep.errors import ConfigurationError, ConversionError

PAPER_FRACTIONS = (0.15, 0.30, 0.45, 0.60, 0.75, 0.90)
MINIMUM_GAP = 0.05  # share of the backbone's MACs, or time, between two exits
INNER_REACH = 0.05  # a cut inside a module gives way to one that closes an outer module this near


class Place(Protocol):
    """What placement needs to know of a cut point."""

    @property
    def depth(self) -> float:
        """Share of the backbone's MACs, or of its time, done, in (0, 1)."""

    @property
    def level(self) -> int:
        """Level in the module tree of the outermost module that ends here."""


def even_fractions(count: int) -> tuple[float, ...]:
    """``count`` target fractions evenly spaced in (0, 1); six are 1/7 … 6/7, near the paper's."""
    return tuple((i + 1) / (count + 1) for i in range(count))


def default_fractions(places: Sequence[Place], minimum_gap: float = MINIMUM_GAP) -> tuple[float, ...]:
    """Return the paper's fractions, evenly thinned out where the network has fewer places that far apart."""
    count = min(most_places(places, minimum_gap), len(PAPER_FRACTIONS))
    if count == len(PAPER_FRACTIONS):
        return PAPER_FRACTIONS
    step = len(PAPER_FRACTIONS) / count
    return tuple(PAPER_FRACTIONS[int(step * i + step / 2)] for i in range(count))


@dataclass(frozen=True)
class TimedPlace:
    """A cut point as placement by time sees it.

    Attributes:
        depth: share of the backbone's time, in (0, 1).
        level: as that of `Place`.
    """

    depth: float
    level: int


def by_time(places: Sequence[Place], seconds: Sequence[float], whole: float) -> list[TimedPlace]:
    """Return places with the share of the backbone's time done at each instead of its MACs.

    Args:
        places: P cut points in the order they run.
        seconds: (P,) up to and including each; one that took less than a place before it counts as much as that.
        whole: of the backbone.

    Raises:
        ConfigurationError: another number of seconds, or no time at all.
    """
    if len(seconds) != len(places) or not whole > 0:
        raise ConfigurationError(
            f"Expected seconds up to each of {len(places)} cut points, and of the whole, got {len(seconds)} and {whole}"
        )
    reached = accumulate(seconds, max)
    return [TimedPlace(min(time / whole, 1.0), place.level) for place, time in zip(places, reached, strict=True)]


def strongest_within(kinds: Sequence[str], shares: Sequence[float], most: float) -> str:
    """Return the first kind of head whose share of the backbone's time is at most ``most``; the quickest if none is.

    Args:
        kinds: from strong to cheap, at least one.
        shares: one each.
        most: such as .03.
    """
    allowed = (kind for kind, share in zip(kinds, shares, strict=True) if share <= most)
    return next(allowed, kinds[shares.index(min(shares))])


def outermost(places: Sequence[Place], reach: float = INNER_REACH) -> list[int]:
    """Indices of places that are not within ``reach`` of one that closes an outer module."""
    return [
        i
        for i, place in enumerate(places)
        if not any(other.level < place.level and abs(other.depth - place.depth) <= reach for other in places)
    ]


def choose_places(places: Sequence[Place], fractions: Sequence[float], minimum_gap: float = MINIMUM_GAP) -> list[int]:
    """Indices of the cut points nearest ``fractions`` in all, at least ``minimum_gap`` apart.

    Exact, by dynamic programming over (fraction, place): minimises the sum of distances.

    Args:
        places: cut points by increasing depth.
        fractions: target shares of the backbone's MACs (or time), increasing, each in (0, 1).
        minimum_gap: least difference in depth between two chosen places.

    Raises:
        ConfigurationError: a fraction outside (0, 1), or not increasing.
        ConversionError: more fractions than places that far apart.
    """
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise ConfigurationError(f"Expected exit fractions in (0, 1), got {fraction}")
    if any(a >= b for a, b in pairwise(fractions)):
        raise ConfigurationError(f"Expected exit fractions that increase, got {list(fractions)}")
    kept = outermost(places)
    for candidates in (kept, list(range(len(places)))):
        chosen = _nearest(places, candidates, fractions, minimum_gap)
        if chosen is not None:
            return chosen
    most = most_places(places, minimum_gap)
    raise ConversionError(
        f"Expected at most {most} internal classifiers ({len(places)} cut points, {minimum_gap:.0%} of the MACs apart),"
        f" got {len(fractions)}"
    )


def most_places(places: Sequence[Place], minimum_gap: float = MINIMUM_GAP) -> int:
    """The largest number of places that are ``minimum_gap`` apart."""
    count, last = 0, -inf
    for place in places:
        if place.depth - last >= minimum_gap:
            count, last = count + 1, place.depth
    return count


def _nearest(
    places: Sequence[Place], candidates: Sequence[int], fractions: Sequence[float], minimum_gap: float
) -> list[int] | None:
    """Candidates minimising the summed distance to ``fractions``, or None where the gap leaves too few."""
    if not fractions:
        return []
    costs: list[list[float]] = []
    parents: list[list[int]] = []
    for row, fraction in enumerate(fractions):
        costs.append([])
        parents.append([])
        for i, place in enumerate(candidates):
            best, parent = (0.0, -1) if row == 0 else (inf, -1)
            if row:
                for j in range(i):
                    apart = places[place].depth - places[candidates[j]].depth >= minimum_gap
                    if apart and costs[row - 1][j] < best:
                        best, parent = costs[row - 1][j], j
            costs[row].append(best + abs(places[place].depth - fraction))
            parents[row].append(parent)
    if not costs[-1] or min(costs[-1]) == inf:
        return None
    at = costs[-1].index(min(costs[-1]))
    chosen = []
    for row in range(len(fractions) - 1, -1, -1):
        chosen.append(candidates[at])
        at = parents[row][at]
    return chosen[::-1]
