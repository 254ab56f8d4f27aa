"""Predictions of a made-up network, surer and better from exit to exit, with known truth."""

from __future__ import annotations

import numpy as np

from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.predictions import ExitPredictions

COSTS = (0.16, 0.31, 0.46, 0.61, 0.76, 1.012)
HEAD_COSTS = (0.002, 0.002, 0.002, 0.003, 0.003)


def pool(samples: int, seed: int = 0, classes: int = 6) -> ExitPredictions:
    """Samples of mixed difficulty: the label's logit grows along the network, noise is shared between neighbours."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    easiness = generator.gamma(2.0, 1.3, samples)
    noise = generator.normal(size=(samples, classes))
    strength = (0.75, 1.0, 1.25, 1.45, 1.55, 1.6)
    logits = np.empty((len(COSTS), samples, classes))
    for k, gain in enumerate(strength):
        noise = 0.8 * noise + 0.6 * generator.normal(size=noise.shape)
        logits[k] = 1.2 * noise
        logits[k, np.arange(samples), labels] += gain * easiness
    return ExitPredictions(logits.astype(np.float32), labels, CostModel(COSTS, HEAD_COSTS))


def part(pred: ExitPredictions, samples: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ExitPredictions:
    """Some samples of a pool, repeats allowed."""
    return pred.subset(samples)
