"""Contenders that take turns at one size of batch (no torch)."""

from __future__ import annotations

from collections.abc import Mapping

from shallowdeep.bench.runtime_times import Contender
from shallowdeep.bench.workers import batches_a_turn


def seconds_in_turns(contenders: Mapping[str, Contender], size: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds a batch of each contender in every round, by the pool of threads that suits it.

    In every round each runs the same images once, in alternating order.

    Args:
        contenders: by name.
        size: images in a batch.
        rounds: of turns.
    """
    chosen = {name: contender.at(size) for name, contender in contenders.items()}
    count = batches_a_turn(list(chosen.values()), size)
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(rounds):
        names = list(chosen)
        for name in names if number % 2 == 0 else reversed(names):
            spent = chosen[name].order("time", first=number * size * count, size=size, batches=count)
            seconds[name].append(spent / count)
    return seconds
