"""The guard keeps its false-alarm rate and notices drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.security.exit_guard import ExitGuard

SHARES = np.asarray([0.3, 0.25, 0.2, 0.15, 0.1])
LATER = np.asarray([0.02, 0.03, 0.05, 0.1, 0.8])


def stream(
    generator: np.random.Generator, count: int, shares: np.ndarray = SHARES, confused: float = 0.0
) -> tuple[Any, Any]:
    """Exits and confusions of a stream; there is none at the first exit."""
    exits = generator.choice(5, size=count, p=shares)
    confusions = generator.normal(size=count) + 0.3 * exits + confused
    return exits, np.where(exits == 0, np.nan, confusions)


def watched(seed: int, *parts: tuple[Any, Any], false_alarm: float = 0.1) -> ExitGuard:
    """A guard calibrated on 400 samples that has seen the parts."""
    guard = ExitGuard(*_calibration(seed), false_alarm=false_alarm, seed=seed)
    for exits, confusions in parts:
        guard.update(exits, confusions)
    return guard


def _calibration(seed: int) -> tuple[Any, int, Any]:
    exits, confusions = stream(np.random.default_rng(10_000 + seed), 400)
    return exits, 5, confusions


def test_false_alarms_are_no_more_than_said() -> None:
    """At 10 %, over 200 streams of 500: at most 10 %, and three standard errors."""
    alarms = [watched(seed, stream(np.random.default_rng(seed), 500)).alarm is not None for seed in range(200)]
    assert np.mean(alarms) <= 0.1 + 3 * (0.1 * 0.9 / 200) ** 0.5


@pytest.mark.parametrize("before", [0, 800])
def test_later_exits_are_noticed_soon_however_late_they_come(before: int) -> None:
    """Within sixty samples, in each of ten streams."""
    for seed in range(10):
        generator = np.random.default_rng(seed)
        guard = watched(seed, stream(generator, before), stream(generator, 60, LATER), false_alarm=0.01)
        assert guard.alarm is not None
        assert guard.alarm.sample > before


def test_earlier_exits_and_confusion_alone_are_noticed_too() -> None:
    """Drift of either kind, in any direction, by what moved."""
    generator = np.random.default_rng(0)
    earlier = watched(0, stream(generator, 150, np.asarray([0.9, 0.05, 0.03, 0.01, 0.01])), false_alarm=0.01)
    assert earlier.alarm is not None
    confused = watched(0, stream(generator, 300, confused=3.0), false_alarm=0.01)
    assert confused.alarm is not None
    assert confused.alarm.what == "confusion"
    agreed = watched(0, stream(generator, 300, confused=-3.0), false_alarm=0.01)
    assert agreed.alarm is not None
    assert agreed.alarm.what == "confusion"


def test_two_streams_share_the_rate_of_false_alarms() -> None:
    """The alarm comes with the first stake of 2 / rate, not of 1 / rate, which a slight drift passes earlier."""
    guard = watched(0, false_alarm=0.1)
    stakes = []
    for exit_, confusion in zip(*stream(np.random.default_rng(7), 900, confused=0.3), strict=True):
        guard.update([exit_], [confusion])
        stakes.append(max(guard.evidence.values()))
    assert guard.alarm is not None
    assert guard.alarm.sample == 1 + next(k for k, stake in enumerate(stakes) if stake >= 2 / 0.1)
    assert guard.alarm.sample > 1 + next(k for k, stake in enumerate(stakes) if stake >= 1 / 0.1)


def test_batches_of_any_size_say_the_same() -> None:
    """One by one or all at once."""
    exits, confusions = stream(np.random.default_rng(3), 90, LATER)
    whole = watched(3, (exits, confusions))
    single = watched(3, *[(exits[k : k + 1], confusions[k : k + 1]) for k in range(90)])
    assert whole.alarm == single.alarm
    assert whole.evidence == single.evidence
    assert whole.seen == single.seen == 90


def test_an_alarm_stays_until_it_is_reset() -> None:
    """After that the guard bets anew."""
    generator = np.random.default_rng(1)
    guard = watched(1, stream(generator, 100, LATER))
    first = guard.alarm
    assert first is not None
    assert guard.update(*stream(generator, 10)) == first
    guard.reset()
    assert guard.alarm is None
    assert guard.evidence == {"exits": 1.0, "confusion": 1.0}


def test_exits_alone_can_be_watched() -> None:
    """Without confusions."""
    guard = ExitGuard(_calibration(0)[0], 5, false_alarm=0.05)
    assert guard.update(np.full(40, 4)) is not None
    assert list(guard.evidence) == ["exits"]


def test_bad_input_is_refused() -> None:
    """Rates, exits, and confusions that are missing or too few."""
    exits, count, confusions = _calibration(0)
    with pytest.raises(ConfigurationError, match=r"false-alarm rate in \(0, 1\), got 1"):
        ExitGuard(exits, count, false_alarm=1)
    with pytest.raises(DataError, match="got none"):
        ExitGuard([], count)
    with pytest.raises(DataError, match=r"exits in \[0, 3\], got 0 to 4"):
        ExitGuard(exits, 4)
    guard = ExitGuard(exits, count, confusions)
    with pytest.raises(DataError, match="Expected confusions beside the exits"):
        guard.update([1, 2])
    with pytest.raises(DataError, match="Expected 2 confusions, one beside each exit, got 1"):
        guard.update([1, 2], [0.5])
