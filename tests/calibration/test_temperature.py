"""Temperatures: what a grid finds, and what they undo."""

from __future__ import annotations

import numpy as np
import pytest
from tests.synthetic import pool

from shallowdeep.calibration.temperature import COLDEST, fit_temperatures, label_losses
from shallowdeep.errors import DataError


def test_the_best_of_a_fine_grid() -> None:
    """No temperature on a grid gives the labels less loss."""
    pred = pool(500)
    found = fit_temperatures(pred.logits, pred.labels)
    best = np.asarray(label_losses(pred.logits, pred.labels, found))
    for temperature in np.geomspace(0.05, 20, 60):
        losses = np.asarray(label_losses(pred.logits, pred.labels, [temperature] * pred.exits))
        assert (best <= losses + 1e-6).all()


def test_scaled_logits_have_scaled_temperatures() -> None:
    """Logits times c have a temperature times c, each exit its own."""
    pred = pool(500)
    factors = np.asarray([0.5, 1.0, 2.0, 3.0, 0.8, 1.5])
    plain = np.asarray(fit_temperatures(pred.logits, pred.labels))
    scaled = fit_temperatures(pred.logits * factors[:, None, None], pred.labels)
    assert scaled == pytest.approx((plain * factors).tolist(), rel=1e-3)


def test_a_loss_by_hand() -> None:
    """Two classes, logit difference 2, temperature 2: -log sigmoid(1)."""
    assert label_losses([[[2.0, 0.0]]], [0], [2.0])[0] == pytest.approx(np.log(1 + np.exp(-1)))


def test_answers_that_are_all_right_stay_finite() -> None:
    """Where colder is always better, the coldest allowed is taken."""
    assert fit_temperatures([[[1.0, 0.0], [0.0, 1.0]]], [0, 1])[0] == pytest.approx(COLDEST, rel=1e-2)


def test_other_shapes_are_refused() -> None:
    """Logits and labels go together."""
    for logits, labels in (([[1.0, 0.0]], [0]), ([[[1.0, 0.0]]], [0, 1]), (np.zeros((2, 0, 3)), [])):
        with pytest.raises(DataError, match="Expected logits"):
            fit_temperatures(logits, labels)
