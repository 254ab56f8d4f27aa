"""Indicators by hand, in order of what they mean, and the two that are fitted."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from shallowdeep.analysis.answer_rule import AnswerRule, evaluate_answer_rule, fit_answer_rule
from shallowdeep.analysis.error_detection import detection
from shallowdeep.analysis.error_indicators import (
    POWERS,
    best_power,
    energy,
    ensemble,
    entropy,
    indicator_scores,
    max_softmax,
    maxlogit_pnorm,
    mutual_information,
    small_margin,
)
from shallowdeep.analysis.trajectory_predictor import TrajectoryPredictor, stable_from, trajectory_features
from shallowdeep.errors import DataError
from shallowdeep.exits.predictions import ExitPredictions

PROBABILITIES = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.8, 0.2], [0.1, 0.9]]])  # (E=2, N=2, C=2)
LOGITS = np.log(PROBABILITIES)


def trained_exits(samples: int, seed: int) -> ExitPredictions:
    """Exits whose last is wrong mostly where it is at odds with the others."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, samples)
    logits = generator.normal(size=(4, samples, 3)).astype(np.float32)
    logits[:, np.arange(samples), labels] += 1.5
    spoilt = generator.random(samples) < 0.2
    logits[-1, spoilt] += 6 * np.eye(3, dtype=np.float32)[generator.integers(0, 3, int(spoilt.sum()))]
    return ExitPredictions(logits, labels, np.array([0.2, 0.4, 0.7, 1.0]))


def test_indicators_by_hand() -> None:
    """Of the final exit .8/.2 and .1/.9; across exits means .65/.35 and .5/.5."""
    assert max_softmax(LOGITS) == pytest.approx([0.2, 0.1])
    assert small_margin(LOGITS) == pytest.approx([1 - 0.6, 1 - 0.8])
    h = [-(p * log(p) + (1 - p) * log(1 - p)) / log(2) for p in (0.8, 0.9, 0.5, 0.65)]
    assert entropy(LOGITS) == pytest.approx(h[:2])
    assert energy(LOGITS) == pytest.approx([0.0, 0.0], abs=1e-9)  # logits of probabilities add up to 1
    assert energy(LOGITS + 5) == pytest.approx([-5.0, -5.0])
    assert ensemble(LOGITS) == pytest.approx([0.35, 0.5])
    assert mutual_information(LOGITS) == pytest.approx([h[3] - (h[2] + h[0]) / 2, 1 - h[1]], abs=1e-6)
    centred = np.array([[2.0, -1.0, -1.0]])
    assert maxlogit_pnorm(centred[None] + 7, 2.0) == pytest.approx([-2 / np.sqrt(6)])


def test_names_and_single_exits() -> None:
    """Eight need no fitting; a single exit has none across exits; one class has none at all."""
    assert len(indicator_scores(LOGITS)) == 8
    assert set(indicator_scores(LOGITS[1:])) == {"max-softmax", "entropy", "margin", "energy", "maxlogit-pnorm"}
    with pytest.raises(DataError, match="at least 2 classes"):
        indicator_scores(LOGITS[..., :1])


def test_constant_and_huge_logits_stay_finite() -> None:
    """No information is no infinity, and neither is much."""
    for logits in (np.zeros((3, 5, 4), np.float32), 1e30 * np.eye(5, 4, dtype=np.float32)[None].repeat(3, axis=0)):
        for name, values in indicator_scores(logits).items():
            assert np.isfinite(values).all(), name


def test_sure_answers_do_not_tie() -> None:
    """Logits so far apart that float32 calls every probability 1 are still ranked."""
    logits = np.zeros((1, 4, 3), np.float32)
    logits[0, :, 0] = [20, 24, 28, 32]
    for name in ("max-softmax", "entropy", "margin"):
        values = indicator_scores(logits)[name]
        assert (np.diff(values) < 0).all(), name


def test_the_power_is_the_best_on_tune() -> None:
    """No other of the powers has a smaller AURC."""
    pred = trained_exits(400, seed=0)
    errors = pred.logits[-1].argmax(-1) != pred.labels
    chosen = best_power(pred.logits, errors)
    areas = {power: detection(maxlogit_pnorm(pred.logits, power), errors).aurc for power in POWERS}
    assert areas[chosen] == min(areas.values())


def test_the_trajectory_predictor_learns_what_the_final_exit_hides() -> None:
    """Fitted on some samples it tells errors of others better than the final exit's confidence."""
    tune, test = trained_exits(600, seed=1), trained_exits(600, seed=2)
    errors = [pred.logits[-1].argmax(-1) != pred.labels for pred in (tune, test)]
    predictor = TrajectoryPredictor.fit(tune.logits, errors[0])
    scores = predictor.scores(test.logits)
    assert ((scores >= 0) & (scores <= 1)).all()
    better, plain = (detection(values, errors[1]).auroc for values in (scores, max_softmax(test.logits)))
    assert better > plain + 0.1


def test_features_by_hand() -> None:
    """Probability of the final answer, max, entropy confidence, margin, agreement of each exit; then the trajectory."""
    features = trajectory_features(LOGITS)
    assert features.shape == (2, 13)
    assert features[1, [0, 1, 3, 4, 5, 9]] == pytest.approx([0.1, 0.9, 0.8, 0, 0.9, 1])
    assert features[1, -3:] == pytest.approx([1, 1, 1.6])
    assert stable_from(np.array([[0, 1, 2], [1, 1, 2], [1, 0, 2]])).tolist() == [1, 2, 0]


def test_too_few_errors_fit_nothing() -> None:
    """Five folds need five errors."""
    with pytest.raises(DataError, match="at least 5 errors and right answers to fit a predictor, got 1"):
        TrajectoryPredictor.fit(np.zeros((2, 9, 2), np.float32), np.arange(9) == 0)


def test_an_answer_rule_is_fitted_and_judged() -> None:
    """Where the last exit is spoilt, averaging helps on samples that the fit never saw; the gain is what it says."""
    tune, test = trained_exits(800, seed=3), trained_exits(800, seed=4)
    rule = fit_answer_rule(tune)
    assert rule.exits > 1
    found = evaluate_answer_rule(rule, test, resamples=200)
    right = (rule.answers(test.logits) == test.labels).mean()
    assert found.gain == pytest.approx(right - (test.logits[-1].argmax(-1) == test.labels).mean())
    assert found.intervals["gain"][0] < found.gain < found.intervals["gain"][1]
    assert found.gain > 0


def test_a_rule_that_cannot_help_leaves_answers_alone() -> None:
    """Where the final exit is always right, nothing is combined."""
    logits = np.stack([np.zeros((6, 2)), 9 * np.eye(2)[[0, 1] * 3]]).astype(np.float32)
    pred = ExitPredictions(logits, np.array([0, 1] * 3), np.array([0.5, 1.0]))
    rule = fit_answer_rule(pred)
    assert rule == AnswerRule(1, float("inf"))
    assert evaluate_answer_rule(rule, pred, 0).changed == 0
    assert "no combination did better" in evaluate_answer_rule(rule, pred, 0).rule
