"""Made-up ensembles."""

from __future__ import annotations

import numpy as np

from shallowdeep.exits.ensemble import Ensemble


def drawn(exits: int, classes: int, seed: int) -> Ensemble:
    """Random weights in [.5, 2] and small biases."""
    generator = np.random.default_rng(seed)
    weights = tuple(tuple(generator.uniform(0.5, 2.0, place + 1).tolist()) for place in range(exits))
    return Ensemble(weights, tuple(tuple(generator.normal(0, 0.3, classes).tolist()) for _ in range(exits)))
