"""What bench computes from times: ratios, turns; by hand."""

from __future__ import annotations

import pytest

from shallowdeep.bench.workers import Process, batches_a_turn, best_pool, closing, paired_ratio, start
from shallowdeep.errors import ShallowDeepError

SCRIPT = """
import json, sys
print(json.dumps("ready"), flush=True)
seconds = json.loads(sys.argv[1])
for number, line in enumerate(sys.stdin):
    order = json.loads(line)
    print(json.dumps(order["batches"] * seconds[number % len(seconds)]), flush=True)
"""


def worker(*seconds: float) -> Process:
    """A process that claims to need these seconds a batch, in turn."""
    return start(str(seconds), ["-c", SCRIPT, str(list(seconds))], 1)


def test_ratios_are_paired_by_round() -> None:
    """A machine that halves its speed in the second round changes no ratio; the interval holds the median."""
    ratio = paired_ratio([2.0, 4.0, 2.2], [1.0, 2.0, 1.0])
    assert ratio.median == pytest.approx(2.0)
    assert ratio.low == pytest.approx(2.0)
    assert ratio.high == pytest.approx(2.2)


def test_turns_are_long_enough_and_the_best_pool_wins() -> None:
    """Ten batches of 20 ms fill a turn of 200 ms; one slow round does not change which is best."""
    with closing([worker(0.02), worker(0.05, 0.01, 0.01)]) as processes:
        assert batches_a_turn(processes[:1], 1) == 10
        assert best_pool(processes, 1, 2) is processes[1]


def test_a_worker_that_dies_is_told() -> None:
    """With its status and last words."""
    process = start("", ["-c", "import sys; sys.exit('out of memory')"], 1)
    with pytest.raises(ShallowDeepError, match=r"got its end \(status 1\): out of memory"), closing([process]):
        pass
