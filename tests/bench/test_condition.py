"""Times alone and beside a busy process, by hand: processes that claim to be slower while it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from shallowdeep.bench import condition
from shallowdeep.bench.condition import Pools, alone, beside_neighbour, neighbour_timing
from shallowdeep.bench.workers import Process


@dataclass
class Place:
    """Where a busy process is, or is not."""

    busy: bool = False
    asked: list[tuple[str, bool, int]] = field(default_factory=list)

    @contextmanager
    def neighbour(self) -> Iterator[None]:
        """It is there during the block."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False


def worker(place: Place, pool: str, free: float, beside: float) -> Process:
    """A process that claims these seconds a batch, without and beside the busy one."""

    class Claiming:
        """Answers like a `Process`."""

        def order(self, do: str, *, first: int, size: int, batches: int) -> float:
            del do, size
            place.asked.append((pool, place.busy, first))
            return batches * (beside if place.busy else free)

    made: Any = Claiming()
    made.pool = pool
    return made  # type: ignore[no-any-return]  # what `Condition` needs of one


def test_each_condition_has_its_pools_times_and_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that spins is best alone and worst beside the busy process; both run the same batches in turns."""
    place = Place()
    monkeypatch.setattr(condition, "busy_neighbour", place.neighbour)
    engines = [worker(place, "spins", 0.010, 0.200), worker(place, "sleeps", 0.012, 0.018)]
    statics = [worker(place, "static spins", 0.020, 0.500), worker(place, "static sleeps", 0.025, 0.045)]
    idle, beside = alone(), beside_neighbour()
    for one in (idle, beside):
        one.choose(engines, statics, 4, 2)
    place.asked.clear()
    for number in range(2):
        for one in (idle, beside):
            one.turn(number, 4, 2)
    assert place.asked == [
        ("spins", False, 0), ("static spins", False, 0), ("sleeps", True, 0), ("static sleeps", True, 0),
        ("static spins", False, 8), ("spins", False, 8), ("static sleeps", True, 8), ("sleeps", True, 8),
    ]  # fmt: skip
    assert not place.busy
    assert idle.pools() == Pools("spins", "static spins")
    assert idle.speedup().median == pytest.approx(2.0)
    found = neighbour_timing(idle, beside, 5.0)
    assert found.pools == Pools("sleeps", "static sleeps")
    assert [found.static_ms, found.engine_ms] == pytest.approx([45.0, 18.0])
    assert [found.speedup.low, found.speedup.median, found.speedup.high] == pytest.approx([2.5, 2.5, 2.5])
    assert found.static_slowdown.median == pytest.approx(45 / 20)
    assert found.engine_slowdown.median == pytest.approx(1.8)
    assert found.of_ideal == pytest.approx(0.5)
