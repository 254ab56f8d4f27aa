"""What evaluate finds: its values, and that it is JSON and comes back from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shallowdeep.analysis.evaluation import evaluation, evaluation_from
from shallowdeep.analysis.operating_points import operating_points
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import Array
from shallowdeep.exits.predictions import ExitPredictions

SIZES = {"backbone_macs": 1000, "parameters": 120, "backbone_parameters": 100}


def predictions(
    seed: int, exits: int = 3, samples: int = 40, asarray: Callable[..., Array] = np.asarray
) -> ExitPredictions:
    """Random logits, labels and rising costs."""
    rng = np.random.default_rng(seed)
    logits = np.float32(rng.normal(size=(exits, samples, 4)))
    return ExitPredictions(
        asarray(logits), asarray(rng.integers(0, 4, samples)), asarray(np.linspace(0.3, 1.01, exits + 1)[1:])
    )


@pytest.mark.parametrize("asarray", [np.asarray, torch.asarray])
def test_evaluation_by_parts(asarray: Callable[..., Array]) -> None:
    """Values are those of the functions it is made of; its document has them, and gives them back."""
    pred, tune = predictions(0, asarray=asarray), predictions(1, asarray=asarray)
    found = evaluation("cifar10", "test", pred, tune=tune, names=["a", "b", "final"], **SIZES)
    document = plain(found)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert evaluation_from(document) == found
    assert (document["dataset"], document["split"], document["samples"], document["classes"]) == (
        "cifar10",
        "test",
        40,
        4,
    )
    assert {name: document[name] for name in SIZES} == SIZES
    assert [exit_["name"] for exit_ in document["exits"]] == ["a", "b", "final"]
    assert document["exits"][-1]["relative_cost"] == 1.01
    right = np.asarray(pred.logits).argmax(-1) == np.asarray(pred.labels)
    assert [exit_["accuracy"] for exit_ in document["exits"]] == right.mean(axis=1).tolist()
    assert document["exits"][1]["correct_so_far"] == (right[0] | right[1]).mean()
    assert document["cumulative_accuracy"] == right.any(axis=0).mean()
    curve = document["threshold_curve"]
    assert (curve["chosen_on"], curve["shown_on"]) == ("tune", "test")
    assert curve["samples_chosen_on"] == tune.samples
    assert len(curve["thresholds"]) == len(curve["accuracy"]) == len(curve["relative_cost"])
    assert curve["accuracy"][-1] == document["exits"][-1]["accuracy"]
    points = operating_points(tune, pred)
    assert [point["rule"] for point in document["operating_points"]] == [point.rule for point in points]
    assert [point["threshold"] for point in document["operating_points"]] == [point.threshold for point in points]
    assert found.operating_points == tuple(points)
    assert found.accuracies == tuple(exit_.accuracy for exit_ in found.exits)


def test_without_tune_there_are_no_thresholds() -> None:
    """What nothing could be chosen on is left out rather than chosen on test."""
    found = evaluation("d", "test", predictions(0), tune=None, names=["a", "b", "c"], **SIZES)
    assert found.threshold_curve is None
    assert found.operating_points == ()
    assert evaluation_from(plain(found)) == found


def test_a_backbone_alone_is_evaluated() -> None:
    """One exit gives a flat curve, no threshold for a budget, and the trivial one at no loss."""
    found = evaluation("d", "test", predictions(0, 1), tune=predictions(1, 1), names=["final"], **SIZES)
    assert found.cumulative_accuracy == found.exits[0].accuracy
    assert found.threshold_curve is not None
    assert set(found.threshold_curve.accuracy) == {found.exits[0].accuracy}
    assert [point.threshold for point in found.operating_points] == [None, None, None, 0.0]


def test_refuses_what_does_not_go_together() -> None:
    """A name for every exit, and one network."""
    with pytest.raises(ConfigurationError, match="Expected a name for each of 3 exits, got 1"):
        evaluation("d", "test", predictions(0), tune=None, names=["a"], **SIZES)
    with pytest.raises(DataError, match="Expected two splits from one network"):
        evaluation("d", "test", predictions(0), tune=predictions(0, 2), names=["a", "b", "c"], **SIZES)


def test_evaluations_of_earlier_versions_are_read() -> None:
    """Fields that came later are not known of them."""
    document = json.loads((Path(__file__).parents[1] / "old/run/metrics.json").read_text())
    found = evaluation_from(document)
    assert (found.certify_samples, found.tune_dataset) == (None, "images")
    assert [point.rule for point in found.operating_points] == [p["rule"] for p in document["operating_points"]]
