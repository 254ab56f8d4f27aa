"""Weighted geometric ensembles: by hand, as a slow loop, refused where they make no sense, back from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.exits.ensembles import drawn

from shallowdeep.errors import CheckpointError, ConfigurationError, DataError
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.exits.policy_file import policy_document, policy_from, read_policy, write_policy
from shallowdeep.exits.signals import scan_exits


def test_by_hand() -> None:
    """Probabilities (.8, .2) and (.5, .5), weights 2 and 1, bias ln 2 for the second class.

    Means of logarithms: (2 ln .8 + ln .5)/2 and (2 ln .2 + ln .5)/2 + ln 2, that is .8·c and .4·c: two to one.
    """
    logits = np.log(np.array([[[0.8, 0.2]], [[0.5, 0.5]]], dtype=np.float32))
    ensemble = Ensemble(((1.0,), (2.0, 1.0)), ((0.0, 0.0), (0.0, float(np.log(2)))))
    confidence, scores = scan_exits("ensemble", logits, ensemble=ensemble)
    assert confidence[:, 0].tolist() == pytest.approx([0.8, 2 / 3], abs=1e-6)
    assert scores.argmax(-1)[:, 0].tolist() == [0, 0]


def test_a_scan_equals_a_slow_loop() -> None:
    """Softmax of the weighted mean plus the bias, class by class."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 20, 4))
    ensemble = drawn(3, 4, 1)
    confidence, scores = scan_exits("ensemble", logits, ensemble=ensemble)
    for k in range(3):
        for n in range(20):
            total = np.zeros(4)
            for j in range(k + 1):
                p = np.exp(logits[j, n]) / np.exp(logits[j, n]).sum()
                total += ensemble.weights[k][j] * np.log(p)
            q = np.exp(total / (k + 1) + np.array(ensemble.biases[k]))
            q /= q.sum()
            assert confidence[k, n] == pytest.approx(q.max())
            assert scores[k, n].argmax() == q.argmax()


def test_equal_weights_are_the_plain_ensemble() -> None:
    """Ones and no bias change nothing."""
    logits = np.random.default_rng(2).normal(size=(3, 10, 4))
    ones = Ensemble(((1.0,), (1.0, 1.0), (1.0, 1.0, 1.0)), ((0.0,) * 4,) * 3)
    plain, weighted = scan_exits("ensemble", logits), scan_exits("ensemble", logits, ensemble=ones)
    np.testing.assert_allclose(plain[0], weighted[0])


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ((), (), "Expected an ensemble with 1, 2, 3 ... weights in its rows"),
        (((1.0,), (1.0,)), ((0.0,), (0.0,)), r"got \[1, 1\]"),
        (((1.0,),), (), "Expected a bias for each class in 1 rows"),
        (((1.0,), (1.0, 1.0)), ((0.0, 0.0), (0.0,)), r"got rows of \[2, 1\]"),
        (((-1.0,),), ((0.0,),), "Expected weights of at least 0"),
        (((float("nan"),),), ((0.0,),), "Expected finite numbers"),
    ],
)
def test_senseless_ensembles_are_refused(weights: Any, biases: Any, message: str) -> None:  # noqa: ANN401
    """With the reason."""
    with pytest.raises(ConfigurationError, match=message):
        Ensemble(weights, biases)


def test_policies_take_an_ensemble_of_their_exits_in_use_alone() -> None:
    """Another signal, another number of exits in use, another number of classes."""
    with pytest.raises(ConfigurationError, match="Expected the signal 'ensemble' beside an ensemble, got 'margin'"):
        Policy((0.5, 0.5), signal="margin", ensemble=drawn(3, 4, 0))
    with pytest.raises(ConfigurationError, match="Expected an ensemble of the 2 exits in use, got one of 3"):
        Policy((0.5, None), signal="ensemble", ensemble=drawn(3, 4, 0))
    policy = Policy((0.5, 0.5), signal="ensemble", ensemble=drawn(3, 4, 0))
    with pytest.raises(DataError, match="Expected logits of 4 classes, got 5"):
        decide(policy, np.zeros((3, 2, 5), np.float32))


def test_a_file_keeps_it(tmp_path: Path) -> None:
    """Number by number; a garbled one is refused, an older policy has none."""
    policy = Policy((0.5, 0.25), signal="ensemble", ensemble=drawn(3, 4, 0), weights="ab")
    write_policy(policy, tmp_path / "policy.json")
    assert read_policy(tmp_path / "policy.json", "ab") == policy
    assert policy_document(policy) == json.loads(json.dumps(policy_document(policy)))
    document = {key: value for key, value in policy_document(policy).items() if key != "sha256"}
    assert policy_from({**document, "format_version": 2, "ensemble": None}, "here").ensemble is None
    with pytest.raises(CheckpointError, match="Expected a complete policy in here"):
        policy_from({**document, "ensemble": {"weights": [[1.0]]}}, "here")
