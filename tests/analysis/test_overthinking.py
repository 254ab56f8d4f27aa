"""Overthinking on hand-written samples, against slow loops, and its chance level."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from shallowdeep.analysis.overthinking import (
    Quartiles,
    chance_level,
    chance_level_together,
    cross_table,
    destructive,
    first_right,
    per_class,
    quartiles,
    wasteful,
)
from shallowdeep.documents import plain
from shallowdeep.exits.predictions import ExitPredictions

COSTS = [0.2, 0.5, 1.0]
#            a  b  c  d  e
RIGHT = [
    [1, 0, 0, 1, 0],
    [1, 1, 0, 0, 0],
    [1, 1, 0, 0, 1],
]  # (E, N): a early and late, b second, c never, d lost, e last


def predictions(
    right: ArrayLike, labels: ArrayLike | None = None, costs: ArrayLike = COSTS, classes: int = 2
) -> ExitPredictions:
    """Exits that are right where ``right`` (E, N) says, else answer the next class."""
    correct = np.asarray(right, dtype=bool)
    truth = np.ones(correct.shape[1], np.int64) if labels is None else np.asarray(labels)
    answers = np.where(correct, truth, (truth + 1) % classes)
    return ExitPredictions(2 * np.eye(classes, dtype=np.float32)[answers], truth, np.asarray(costs))


def random_predictions(samples: int = 400, exits: int = 4, classes: int = 5, seed: int = 0) -> ExitPredictions:
    """Exits that get better with depth."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    logits = generator.normal(size=(exits, samples, classes)).astype(np.float32)
    for k in range(exits):
        logits[k, np.arange(samples), labels] += 0.5 + 0.4 * k
    return ExitPredictions(logits, labels, np.linspace(0.2, 1.0, exits))


def test_wasteful_by_hand() -> None:
    """a, b and d are right before the end, two of them also at the end; c costs all though nobody is right."""
    found = wasteful(predictions(RIGHT), resamples=0)
    assert found is not None
    assert found.share == pytest.approx(3 / 5)
    assert found.and_final_right == pytest.approx(2 / 5)
    assert found.oracle_cost == pytest.approx((0.2 + 0.5 + 1.0 + 0.2 + 1.0) / 5)
    assert found.oracle_accuracy == pytest.approx(4 / 5)
    assert (found.first_right, found.never_right, found.intervals) == ((2, 1, 1), 1, {})


def test_destructive_by_hand() -> None:
    """Of the errors c and d an earlier exit had d right: at exit 0, with the confidence it had there."""
    found = destructive(predictions(RIGHT), resamples=0)
    assert found is not None
    assert (found.errors, found.share_of_errors, found.last_right_at) == (2, 0.5, (1, 0))
    assert found.accuracy_gain == pytest.approx(1 / 5)
    sure = np.exp(2) / (np.exp(2) + 1)
    assert found.confidence_when_right is not None
    assert astuple(found.confidence_when_right) == pytest.approx((sure, sure, sure))
    assert found.chance == pytest.approx(1 - (1 - 0.5) * (1 - 0.0))  # exit 0 answers d's class to one error of two


def test_figures_agree_with_slow_loops() -> None:
    """Counted sample by sample."""
    pred = random_predictions()
    right = pred.logits.argmax(-1) == pred.labels
    waste, lost = wasteful(pred, resamples=0), destructive(pred, resamples=0)
    assert waste is not None
    assert lost is not None
    early = cost = destroyed = errors = 0.0
    last_right = [0] * (pred.exits - 1)
    for n in range(pred.samples):
        rights = [k for k in range(pred.exits) if right[k, n]]
        early += bool(rights) and rights[0] < pred.exits - 1
        cost += pred.costs[rights[0]] if rights else pred.costs[-1]
        if not right[-1, n]:
            errors += 1
            if rights:
                destroyed += 1
                last_right[rights[-1]] += 1
    assert waste.share == pytest.approx(early / pred.samples)
    assert waste.oracle_cost == pytest.approx(cost / pred.samples)
    assert lost.share_of_errors == pytest.approx(destroyed / errors)
    assert lost.last_right_at == tuple(last_right)


def test_the_chance_level_is_what_shuffles_give() -> None:
    """The mean over 2,000 shuffles among the errors: of each exit's answers by itself, and of whole trajectories."""
    pred = random_predictions(samples=120)
    answers = pred.logits.argmax(-1)
    wrong = answers[-1] != pred.labels
    generator = np.random.default_rng(1)
    apart, together = [], []
    for _ in range(2000):
        shuffled = np.stack([generator.permutation(answers[k, wrong]) for k in range(pred.exits - 1)])
        apart.append((shuffled == pred.labels[wrong]).any(axis=0).mean())
        whole = generator.permutation(answers[:-1, wrong], axis=1)
        together.append((whole == pred.labels[wrong]).any(axis=0).mean())
    assert chance_level(pred) == pytest.approx(np.mean(apart), abs=4 * np.std(apart) / np.sqrt(2000))
    expected = pytest.approx(np.mean(together), abs=4 * np.std(together) / np.sqrt(2000))
    assert chance_level_together(pred) == expected


def test_intervals_are_those_of_resampled_samples() -> None:
    """Drawing samples one by one with replacement gives the same spread as drawing counts of cells."""
    pred = random_predictions()
    found = wasteful(pred, resamples=2000)
    assert found is not None
    right = pred.logits.argmax(-1) == pred.labels
    early = right[:-1].any(axis=0)
    generator = np.random.default_rng(2)
    shares = [early[generator.integers(0, pred.samples, pred.samples)].mean() for _ in range(2000)]
    low, high = found.intervals["share"]
    assert low == pytest.approx(np.quantile(shares, 0.025), abs=0.01)
    assert high == pytest.approx(np.quantile(shares, 0.975), abs=0.01)
    assert low < found.share < high
    assert set(found.intervals) == {"share", "and_final_right", "oracle_cost", "oracle_accuracy"}


def test_without_errors_shares_of_them_are_not_given() -> None:
    """No misclassification at all: None, not a number that is none."""
    found = destructive(predictions([[1, 0], [1, 1], [1, 1]]))
    assert found is not None
    assert (found.errors, found.share_of_errors, found.chance, found.accuracy_gain) == (0, None, None, 0.0)
    assert found.confidence_when_right is None
    assert "share_of_errors" not in found.intervals


def test_a_single_exit_cannot_overthink() -> None:
    """Nothing is before the last."""
    pred = predictions([[1, 0]], costs=[1.0])
    assert wasteful(pred) is None
    assert destructive(pred) is None
    assert per_class(pred, ["x", "y"])[1].wasteful is None


def test_classes_one_by_one() -> None:
    """Each class's figures are those of its samples alone; an absent class has none."""
    pred = predictions(RIGHT, labels=[0, 0, 1, 1, 1], classes=3)
    rows = per_class(pred, ["x", "y", "z"], np.arange(5.0))
    assert [row.samples for row in rows] == [2, 3, 0]
    assert plain(rows[0]) == {
        "class": "x", "samples": 2, "accuracy": 1.0, "wasteful": 1.0, "destructive": None,
        "oracle_cost": pytest.approx(0.35), "mean_confusion": 0.5,
    }  # fmt: skip
    assert rows[1].destructive == 0.5
    assert rows[1].accuracy == pytest.approx(1 / 3)
    assert [value for key, value in plain(rows[2]).items() if key not in {"class", "samples"}] == [None] * 5


def test_tables_and_quartiles() -> None:
    """First right exits, E for never; the table adds up to the samples; no quartiles of nothing."""
    correct: NDArray[np.bool_] = np.asarray(RIGHT, dtype=bool)
    assert first_right(correct).tolist() == [0, 1, 3, 0, 2]
    assert cross_table(correct).tolist() == [[1, 1], [0, 1], [0, 1], [1, 0]]
    assert quartiles(np.array([])) is None
    found = quartiles(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found == Quartiles(low=2.0, median=3.0, high=4.0)
    assert all(a <= b for a, b in pairwise(astuple(found)))
