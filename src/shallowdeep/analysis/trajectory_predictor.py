"""A logistic regression that reads a sample's trajectory through the exits and says how likely the end is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shallowdeep.analysis.trajectories import switches
from shallowdeep.errors import DataError
from shallowdeep.exits.confusion import confusion
from shallowdeep.exits.signals import entropy_confidence, margin, max_probability, softmax

FOLDS = 5
STRENGTHS = (0.003, 0.03, 0.3, 3.0)  # inverse regularisation, chosen by cross-validation


def trajectory_features(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the predictor reads.

    Args:
        logits: (E, N, C) floating, unnormalised.

    Returns:
        (N, 5E + 3): per exit the probability of the final answer, max probability, entropy confidence, margin and
        whether it agrees with the final answer; then the number of switches, the first exit from which the answer is
        stable, and confusion.
    """
    answers = logits.argmax(axis=-1)
    final = answers[-1]
    rows = np.arange(logits.shape[1])
    columns: list[NDArray[Any]] = []
    for one, answer in zip(logits, answers, strict=True):
        columns += [
            softmax(one)[rows, final],
            max_probability(one),
            entropy_confidence(one),
            margin(one),
            answer == final,
        ]
    columns += [switches(answers), stable_from(answers), confusion(logits)]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def stable_from(answers: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first exit from which each sample's answer no longer changes, (N,) in [0, E), of answers (E, N)."""
    agrees = np.cumprod((answers == answers[-1])[::-1], axis=0)
    found: NDArray[np.int64] = len(answers) - agrees.sum(axis=0)
    return found


@dataclass(frozen=True)
class TrajectoryPredictor:
    """A fitted predictor; made by `fit`."""

    pipeline: Any  # scikit-learn has no types

    @classmethod
    def fit(cls, logits: NDArray[Any], errors: NDArray[np.bool_]) -> TrajectoryPredictor:
        """Return the predictor fitted on ``tune``; its regularisation is chosen there by cross-validation.

        Args:
            logits: (E, N, C).
            errors: (N,) bool, of the final exit.

        Raises:
            DataError: fewer errors or right answers than folds.
        """
        fewest = int(min(errors.sum(), (~errors).sum()))
        if fewest < FOLDS:
            raise DataError(f"Expected at least {FOLDS} errors and right answers to fit a predictor, got {fewest}")
        regression = LogisticRegressionCV(
            Cs=STRENGTHS, cv=FOLDS, scoring="neg_log_loss", max_iter=1000, l1_ratios=(0.0,), use_legacy_attributes=False
        )
        pipeline = make_pipeline(StandardScaler(), regression)
        return cls(pipeline.fit(trajectory_features(logits), errors))

    def scores(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability that the final answer is wrong, (N,), from logits (E, N, C)."""
        found: NDArray[np.float64] = self.pipeline.predict_proba(trajectory_features(logits))[:, 1]
        return found
