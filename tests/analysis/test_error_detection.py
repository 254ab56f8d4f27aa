"""Detection figures against loops, an independent library, closed forms and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from shallowdeep.analysis.error_detection import DETECTION_METRICS, Ranking, detection, detection_intervals
from shallowdeep.errors import DataError


def case(samples: int = 300, seed: int = 0, levels: int | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Scores that are higher for errors, rounded to few levels where ties are wanted."""
    generator = np.random.default_rng(seed)
    errors = generator.random(samples) < 0.25
    scores = generator.normal(size=samples) + errors
    return (scores if levels is None else np.round(scores * levels) / levels), errors


def slow_areas(scores: NDArray[Any], errors: NDArray[np.bool_]) -> tuple[float, float]:
    """AURC and AUGRC of distinct scores by their definition, coverage by coverage."""
    order = np.argsort(scores)
    risks = [errors[order[:kept]].mean() for kept in range(1, len(scores) + 1)]
    joint = [errors[order[:kept]].sum() / len(scores) for kept in range(1, len(scores) + 1)]
    return float(np.mean(risks)), float(np.mean(joint))


@pytest.mark.parametrize("levels", [None, 2])
def test_auroc_and_fpr_agree_with_scikit_learn(levels: int | None) -> None:
    """With and without ties."""
    scores, errors = case(levels=levels)
    found = detection(scores, errors)
    assert found.auroc == pytest.approx(roc_auc_score(errors, scores))
    false, true, _ = roc_curve(errors, scores, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(false[np.argmax(true >= 0.95)])


def test_areas_agree_with_their_definitions() -> None:
    """Mean over all coverages of the error rate among the trusted, and of the errors among all."""
    scores, errors = case()
    found = detection(scores, errors)
    assert (found.aurc, found.augrc) == pytest.approx(slow_areas(scores, errors))


def test_areas_agree_with_torch_uncertainty() -> None:
    """Its AURC and AUGRC (0.13.0, on these samples) are integrals by trapezes over coverage; ours are means."""
    generator = np.random.default_rng(0)
    errors = generator.random(300) < 0.25
    scores = np.clip(0.1 * generator.normal(size=300) + 0.1 * errors + 0.4, 0.01, 0.99)
    found, first = detection(scores, errors), errors[scores.argmin()]
    by_trapezes = (300 * found.aurc - (first + errors.mean()) / 2) / 299
    assert by_trapezes == pytest.approx(0.09062914733683113)
    by_trapezes = (300 * found.augrc - (first / 300 + errors.mean()) / 2) / 299
    assert by_trapezes == pytest.approx(0.06352285360649376)


def test_ties_count_as_in_random_order() -> None:
    """The mean over 3,000 random orders of equal scores."""
    scores, errors = case(samples=60, levels=1)
    generator = np.random.default_rng(1)
    drawn = np.array([slow_areas(scores + 1e-9 * generator.random(60), errors) for _ in range(3000)])
    found = detection(scores, errors)
    for value, orders in zip((found.aurc, found.augrc), drawn.T, strict=True):
        assert value == pytest.approx(orders.mean(), abs=5 * orders.std() / np.sqrt(3000) + 1e-12)


def test_augrc_follows_from_auroc_and_accuracy() -> None:
    """Traub et al.'s identity, up to terms of 1/N: (1 - AUROC)·acc·(1 - acc) + (1 - acc)²/2."""
    scores, errors = case(samples=4000)
    found = detection(scores, errors)
    wrong = errors.mean()
    expected = (1 - found.auroc) * (1 - wrong) * wrong + wrong**2 / 2
    assert found.augrc == pytest.approx(expected, abs=1 / 4000)


def test_a_perfect_score_and_its_opposite() -> None:
    """All errors last: AUROC 1, no false alarm; first: AUROC 0, all are false alarms."""
    errors = np.array([False, False, True])
    best = detection([0.0, 1.0, 2.0], errors)
    assert (best.auroc, best.fpr95) == (1.0, 0.0)
    assert best.aurc == pytest.approx(1 / 9)
    worst = detection([2.0, 1.0, 0.0], errors)
    assert (worst.auroc, worst.fpr95) == (0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_counts_are_repetitions(data: st.DataObject) -> None:
    """Figures of samples that count so often are those of the samples repeated so often."""
    samples = data.draw(st.integers(2, 12))
    scores = np.array(data.draw(st.lists(st.integers(0, 4), min_size=samples, max_size=samples)), dtype=float)
    errors = np.array([True, False, *data.draw(st.lists(st.booleans(), min_size=samples - 2, max_size=samples - 2))])
    drawn = data.draw(st.lists(st.integers(0, samples - 1), min_size=samples, max_size=samples))
    counts = np.bincount(drawn, minlength=samples)
    repeated = np.repeat(np.arange(samples), counts)
    figures = Ranking(scores, errors).figures(counts[None])
    if errors[repeated].all() or not errors[repeated].any():
        assert all(np.isnan(values[0]) for values in figures.values())
        return
    found = detection(scores[repeated], errors[repeated])
    for name in DETECTION_METRICS:
        assert figures[name][0] == pytest.approx(getattr(found, name)), name


def test_intervals_hold_the_figure_and_shrink_with_samples() -> None:
    """Of all four figures; a larger sample gives a narrower one."""
    widths = []
    for samples in (200, 3200):
        scores, errors = case(samples=samples)
        found = detection(scores, errors)
        bounds = detection_intervals({"score": scores}, errors, 300)["score"]
        assert all(bounds[name][0] <= getattr(found, name) <= bounds[name][1] for name in DETECTION_METRICS)
        widths.append(bounds["auroc"][1] - bounds["auroc"][0])
    assert widths[1] < widths[0] / 2
    assert detection_intervals({"score": scores}, errors, 0) == {"score": {}}


def test_resamples_without_an_error_count_for_nothing() -> None:
    """One error that is told perfectly stays without false alarms in every resample that draws it."""
    bounds = detection_intervals({"score": np.arange(100.0)}, np.arange(100) == 99, 200)["score"]
    assert bounds["fpr95"] == (0.0, 0.0)
    assert bounds["auroc"] == (1.0, 1.0)


def test_bad_input_is_refused() -> None:
    """Other shapes, scores that are not finite, errors that are all alike."""
    with pytest.raises(DataError, match=r"one shape \(samples,\)"):
        detection([1.0, 2.0], [True])
    with pytest.raises(DataError, match="finite scores"):
        detection([1.0, np.nan], [True, False])
    with pytest.raises(DataError, match="got 0 wrong of 2"):
        detection([1.0, 2.0], [False, False])
