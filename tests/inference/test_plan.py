"""Times of whole and cut networks become times of any segment, and of an engine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from shallowdeep.inference.plan import RuntimeTimes, exit_sets, expected_seconds, geometric_mean

STAGES = (2.0, 3.0, 4.0)  # seconds an image
HEADS = (0.5, 0.25)
CALL = 1.0  # seconds a call
SIZES = (1, 4, 16)


def exact(start: int, end: int, rows: int) -> float:
    """Seconds of a segment of a made-up network, behind one exit up to another, with its head."""
    head = HEADS[end] if end < len(HEADS) else 0.0
    return CALL + rows * (sum(STAGES[start + 1 : end + 1]) + head)


@pytest.fixture
def times() -> RuntimeTimes:
    """What measuring the made-up network would give."""
    return RuntimeTimes(
        "openvino",
        "int8",
        SIZES,
        tuple(CALL + size * sum(STAGES) for size in SIZES),
        tuple(tuple(exact(-1, exit_, size) for size in SIZES) for exit_ in range(2)),
        tuple(tuple(exact(exit_, 2, size) for size in SIZES) for exit_ in range(2)),
    )


@pytest.mark.parametrize("rows", [1, 2, 4, 10, 16])
@pytest.mark.parametrize(("start", "end"), [(-1, 0), (-1, 1), (0, 1), (0, 2), (1, 2)])
def test_two_halves_tell_any_segment(times: RuntimeTimes, start: int, end: int, rows: int) -> None:
    """Its stages, its head and its call, at sizes that were measured and between them."""
    assert times.segment_seconds(start, end, rows) == pytest.approx(exact(start, end, rows))


def test_beyond_the_largest_size_time_grows_with_images(times: RuntimeTimes) -> None:
    """Twice the largest takes twice as long."""
    assert times.static_seconds(32) == pytest.approx(2 * times.static_seconds(16))


def test_heads_cost_their_time_and_a_call(times: RuntimeTimes) -> None:
    """What an exit takes from images that go on."""
    assert times.head_seconds(0, 4) == pytest.approx(4 * HEADS[0] + CALL)


def test_costs_are_shares_of_the_static_network(times: RuntimeTimes) -> None:
    """Of one batch size, with heads that are not run taken off."""
    costs, static = times.costs([16]), CALL + 16 * sum(STAGES)
    assert costs.in_use([1, 2])[0] == pytest.approx(exact(-1, 1, 16) / static, abs=1e-4)
    assert costs.in_use([2])[0] == pytest.approx(1, abs=1e-4)
    assert costs[2] == pytest.approx(1 + sum(16 * head + CALL for head in HEADS) / static, abs=1e-4)


def test_noise_leaves_costs_that_rise() -> None:
    """Measured times may say that a later exit is reached sooner."""
    noisy = RuntimeTimes("openvino", "int8", (1,), (10.0,), ((6.0,), (5.0,)), ((3.0,), (4.5,)))
    assert all(before < after for before, after in pairwise(noisy.costs([1])))
    assert noisy.head_seconds(0, 1) == 0


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_an_engine_takes_what_its_segments_take(times: RuntimeTimes, batch_size: int) -> None:
    """Batch by batch, with as many rows as a bucket has."""
    exits = np.random.default_rng(0).choice([0, 1, 2], 48)

    def rows(samples: int) -> int:
        return next(size for size in (1, 2, 4, 8) if size >= samples)

    total = 0.0
    for batch in exits.reshape(-1, batch_size):
        for start, end in pairwise((-1, 0, 1, 2)):
            staying = int((batch > start).sum())
            total += exact(start, end, rows(staying)) if staying else 0.0
    found = expected_seconds(times, (0, 1, 2), exits, batch_size, rows)
    assert found == pytest.approx(total / (len(exits) / batch_size))


def test_few_exits_are_looked_at_together() -> None:
    """Up to three, and all; of cascaded ones the first few."""
    assert len(list(exit_sets(6))) == 6 + 15 + 20 + 1
    assert list(exit_sets(2)) == [(0,), (1,), (0, 1)]
    assert list(exit_sets(3, cascaded=True)) == [(0,), (0, 1), (0, 1, 2)]


def test_means_of_ratios() -> None:
    """Twice as fast and half as fast are nothing."""
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1)
