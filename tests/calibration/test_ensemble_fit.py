"""Fitted ensembles: a known mixture is found, gradients are right, others' samples gain, and one exit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tests.synthetic import pool

from shallowdeep.calibration.candidates import candidates
from shallowdeep.calibration.ensemble_fit import fit_ensemble
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import log_softmax, scan_exits, softmax


def test_a_known_mixture_is_found() -> None:
    """Labels drawn from a weighted geometric mean with a bias: weights and (centred) biases come back."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 60_000, 3)) * 1.5
    scores = (0.6 * log_softmax(logits[0]) + 2.0 * log_softmax(logits[1])) / 2 + np.array([0.5, 0.0, -0.5])
    edges = softmax(scores).cumsum(axis=1)
    labels = (generator.uniform(size=(60_000, 1)) > edges).sum(axis=1)
    found = fit_ensemble(logits, labels)
    assert found.weights[1] == pytest.approx((0.6, 2.0), abs=0.05)
    assert found.biases[1] == pytest.approx((0.5, 0.0, -0.5), abs=0.05)
    assert sum(found.biases[1]) == pytest.approx(0, abs=1e-3)


def test_the_penalty_leaves_few_samples_near_plain_averaging() -> None:
    """Five samples of a hundred classes move nothing by much; without the penalty they would."""
    logits = np.random.default_rng(1).normal(size=(3, 5, 100))
    found = fit_ensemble(logits, np.arange(5))
    assert np.abs(np.concatenate(found.biases)).max() < 0.5
    assert min(min(row) for row in found.weights) > 0.2
    assert max(max(row) for row in found.weights) < 5


def test_it_lowers_the_loss_on_other_samples() -> None:
    """Against equal weights, at every exit but the first, which may only be recalibrated."""
    tune, other = pool(1500, 0), pool(20_000, 1)
    fitted = fit_ensemble(tune.logits, tune.labels)
    places = np.arange(other.samples)

    def losses(ensemble: Ensemble | None) -> list[float]:
        _, scores = scan_exits("ensemble", other.logits, ensemble=ensemble)
        return [-float(log_softmax(row)[places, other.labels].mean()) for row in scores]

    assert all(after < before for before, after in zip(losses(None)[1:], losses(fitted)[1:], strict=True))


def test_wrong_shapes_and_a_single_exit_are_refused() -> None:
    """Each by name."""
    with pytest.raises(ConfigurationError, match="Expected at least two exits in use for an ensemble, got one"):
        fit_ensemble(np.zeros((1, 4, 3)), [0, 1, 2, 0])
    with pytest.raises(DataError, match=r"Expected logits \(K, N, C\) and labels \(N,\)"):
        fit_ensemble(np.zeros((2, 4, 3)), [0, 1])


def test_no_exit_is_switched_off_where_all_are_sure() -> None:
    """On samples where every confidence rounds to 1 the ensemble still needs the exits before."""
    labels = np.arange(200) % 4
    sure = 60 * np.eye(4, dtype=np.float32)[labels]
    logits = np.stack([np.roll(sure, 1, axis=1), sure, sure])
    tune = ExitPredictions(logits, labels, CostModel((0.3, 0.6, 1.0), (0.01, 0.01)))
    ensemble = fit_ensemble(tune.logits, tune.labels)
    for base in (
        shared_threshold(NEVER, 3, signal="ensemble", ensemble=ensemble),
        shared_threshold(NEVER, 3, signal="ensemble"),
        shared_threshold(NEVER, 3, signal="patience"),
    ):
        for candidate in candidates(tune, base, [labels])[1:]:
            assert candidate.policy.in_use == (0, 1, 2)


def test_the_search_judges_an_ensemble_on_samples_it_was_not_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fold's answers come from an ensemble of the other folds; policies keep the one fitted to all."""
    tune = pool(500, 3)
    fits: list[int] = []

    def counted(logits: np.ndarray, labels: np.ndarray) -> Ensemble:
        fits.append(logits.shape[1])
        return fit_ensemble(logits, labels)

    monkeypatch.setattr("shallowdeep.calibration.candidates.fit_ensemble", counted)
    whole = fit_ensemble(tune.logits, tune.labels)
    base = shared_threshold(NEVER, tune.exits, signal="ensemble", ensemble=whole)
    found = candidates(tune, base, [tune.labels])
    assert fits == [400] * 5
    assert found[0].policy.ensemble is None  # the backbone alone
    assert {candidate.policy.ensemble for candidate in found[1:]} == {whole}
    differ = [bool((candidate.answers != outcome_of(candidate.policy, tune).labels).any()) for candidate in found[1:]]
    assert any(differ)
