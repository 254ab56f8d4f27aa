"""A monitor that raises an alarm when exits or confusions leave what calibration saw.

Each sample gets a p-value: how extreme its exit is among those of calibration and of all samples so far. As long as
all of them are exchangeable, these p-values are independent and uniform, so that betting on them wins nothing: the
chance that the stake ever grows to 1/a is at most a, however long the stream. Bets on small and on large p-values run
side by side, and begin anew at every sample with a part of the stake, so that a change is noticed whenever it comes.

Confusions count by bins, quantiles of calibration's own; that these were not fixed before is checked by simulation.

Source: Vovk, Nouretdinov, Gammerman, "Testing exchangeability on-line", ICML 2003; Shin, Ramdas, Rinaldo,
"E-detectors", 2023 (bets that begin anew). For exits and confusions it is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import to_numpy

BINS = 64  # of confusion: quantiles of calibration's
_POWERS = (0.25, 0.5, 0.75)  # bets k·p^(k-1) on small p-values, and the same of 1 - p
_LEAST = 1e-12  # p-values are never 0
_MOST = 1e100  # of a bet: more says no more

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alarm:
    """What the guard noticed.

    Attributes:
        sample: number of the sample, from 1, after which it was raised.
        what: ``exits`` or ``confusion``.
        evidence: the stake won; at least as many as are watched over the false-alarm rate.
    """

    sample: int
    what: str
    evidence: float


class ExitGuard:
    """Watches a stream of answers.

    Calibration samples must be drawn as the stream is, and be new to the network *and* to its thresholds: those that a
    policy was chosen on leave earlier than others. Bursts and daily rhythms are not exchangeable, and are noticed.

    Args:
        exits: (n,) integers in [0, E), where calibration samples stopped.
        exit_count: E.
        confusions: (n,) of the same samples, not a number where there is none; None watches the exits alone.
        false_alarm: chance that it *ever* raises an alarm on a stream that is exchangeable with calibration.
        seed: of the ties.

    Attributes:
        alarm: the first one, or None so far.
        seen: samples so far.

    Raises:
        ConfigurationError: a false-alarm rate outside (0, 1).
        DataError: no calibration samples, or exits outside the network's.

    Example:
        >>> import numpy as np, shallowdeep
        >>> calibration = np.random.default_rng(0).integers(0, 3, 500)  # exits taken on samples drawn as the stream is
        >>> guard = shallowdeep.ExitGuard(calibration, exit_count=3)
        >>> guard.update(np.full(200, 2)) is not None  # a stream that only leaves at the end
        True
    """

    def __init__(
        self,
        exits: ArrayLike,
        exit_count: int,
        confusions: ArrayLike | None = None,
        *,
        false_alarm: float = 0.01,
        seed: int = 0,
    ) -> None:
        if not 0 < false_alarm < 1:
            raise ConfigurationError(f"Expected a false-alarm rate in (0, 1), got {false_alarm}")
        places = _exits(exits, exit_count)
        if not len(places):
            raise DataError("Expected calibration samples to compare with, got none")
        self.alarm: Alarm | None = None
        self.seen = 0
        self._exit_count = exit_count
        self._random = np.random.default_rng(seed)
        self._watched = {"exits": _Stream(np.bincount(places, minlength=exit_count))}
        self._edges: Floats | None = None
        if confusions is not None:
            values = _confusions(confusions, len(places))
            finite = values[np.isfinite(values)]
            self._edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1])) if len(finite) else None
        if self._edges is not None:
            counts = np.bincount(self._binned(values), minlength=len(self._edges) + 2)
            self._watched["confusion"] = _Stream(counts)
        self._limit = len(self._watched) / false_alarm

    def update(self, exits: ArrayLike, confusions: ArrayLike | None = None) -> Alarm | None:
        """Take the answers of a batch, in the order they were given.

        Args:
            exits: (B,) integers, `Answers.exits`.
            confusions: (B,) `Answers.confusions`, where the guard watches them.

        Returns:
            The first alarm, in this batch or an earlier one; None so far. It stays raised until `reset`.

        Raises:
            DataError: exits outside the network's, or confusions missing or of another length.
        """
        found = {"exits": _exits(exits, self._exit_count)}
        if self._edges is not None:
            if confusions is None:
                raise DataError("Expected confusions beside the exits, which this guard watches, got none")
            found["confusion"] = self._binned(_confusions(confusions, len(found["exits"])))
        for row in range(len(found["exits"])):
            self.seen += 1
            for what, stream in self._watched.items():
                evidence = stream.step(int(found[what][row]), float(self._random.uniform()))
                if self.alarm is None and evidence >= self._limit:
                    self.alarm = Alarm(self.seen, what, evidence)
        return self.alarm

    def reset(self) -> None:
        """Begin betting anew, with the chance of another false alarm; what has been seen stays what is usual."""
        self.alarm = None
        for stream in self._watched.values():
            stream.begin()

    @property
    def evidence(self) -> dict[str, float]:
        """The stake won so far on each of what is watched; 1 at the beginning."""
        return {what: stream.evidence for what, stream in self._watched.items()}

    def _binned(self, values: Floats) -> NDArray[np.int64]:
        """Confusions as numbers of bins, 0 where there is none."""
        edges = self._edges if self._edges is not None else np.zeros(0)
        return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))


class _Stream:
    """Bets on one series of ordered categories.

    Args:
        counts: (K,) of calibration.
    """

    def __init__(self, counts: NDArray[Any]) -> None:
        self._counts = counts.astype(np.int64)
        self.begin()

    def begin(self) -> None:
        """Begin with a stake of 1."""
        self._steps = 0
        self._bets = np.zeros(2 * len(_POWERS))  # what the running bets have grown to, of each kind
        self._left = 1.0  # not yet bet

    @property
    def evidence(self) -> float:
        """The stake."""
        return float(self._bets.sum() + self._left)

    def step(self, category: int, tie: float) -> float:
        """Take the next sample; returns the stake."""
        self._counts[category] += 1
        above = int(self._counts[category + 1 :].sum())
        p = (above + tie * int(self._counts[category])) / int(self._counts.sum())
        p = min(max(p, _LEAST), 1 - _LEAST)
        self._steps += 1
        begun = 1 / (self._steps * (self._steps + 1))  # these add up to 1 over an endless stream
        self._left -= begun
        powers = np.asarray(_POWERS)
        wins = np.concatenate([powers * p ** (powers - 1), powers * (1 - p) ** (powers - 1)])
        self._bets = np.minimum((self._bets + begun / len(self._bets)) * wins, _MOST)
        return self.evidence


def _host(values: ArrayLike) -> NDArray[Any]:
    """What an engine of any array library, or a list, says as a NumPy array."""
    return to_numpy(values) if hasattr(values, "device") else np.asarray(values)


def _exits(exits: ArrayLike, exit_count: int) -> NDArray[np.int64]:
    """Exits as integers, once they are known to be the network's."""
    places = _host(exits).astype(np.int64).reshape(-1)
    if len(places) and (places.min() < 0 or places.max() >= exit_count):
        raise DataError(f"Expected exits in [0, {exit_count - 1}], got {places.min()} to {places.max()}")
    return places


def _confusions(confusions: ArrayLike, count: int) -> Floats:
    """Confusions of so many samples."""
    values = _host(confusions).astype(np.float64).reshape(-1)
    if len(values) != count:
        raise DataError(f"Expected {count} confusions, one beside each exit, got {len(values)}")
    return values
