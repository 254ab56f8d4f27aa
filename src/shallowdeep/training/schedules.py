"""Learning-rate schedules as functions of the share of training done, so that they scale with ``--epochs``."""

from __future__ import annotations

import math
from dataclasses import dataclass

FLOOR = 1e-3  # of the peak; where one-cycle starts and ends


@dataclass(frozen=True)
class Steps:
    """The rate times ``factor`` after each of ``milestones``, given as shares of training.

    Source: Kaya et al. 2019: times 0.1 after epochs 35, 60 and 85 of 100; internal classifiers after 15 of 25.
    """

    milestones: tuple[float, ...]
    factor: float = 0.1

    def multiplier(self, done: float) -> float:
        """Share of the peak learning rate when ``done`` in [0, 1] of training is done."""
        return self.factor ** sum(done >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class OneCycle:
    """Up in a straight line during ``warmup``, down to 0 along a cosine; strong when epochs are few."""

    warmup: float = 0.2

    def multiplier(self, done: float) -> float:
        """Share of the peak learning rate when ``done`` in [0, 1] of training is done."""
        if done < self.warmup:
            return FLOOR + (1 - FLOOR) * done / self.warmup
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))


Schedule = Steps | OneCycle
