"""A run's data is split as it was in training, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import CheckpointError, ConfigurationError, DataError
from shallowdeep.runs.splits import own_splits, predict_split, read_splits

CONTEXT = RunContext(trust=True, batch_size=7)


def test_splits_are_those_of_training(made_run: Path) -> None:
    """The same images at the same places as the seed and the fractions in the run's settings give."""
    own = own_splits(made_run, load(made_run, trust=True), context=CONTEXT)
    expected = load_dataset("images", image_size=16, seed=0, calibration_fraction=0.5)
    assert (own.name, own.classes) == ("images", ("azure", "brick", "coral"))
    for name in ("train", "tune", "certify", "test"):
        assert own.split(name).positions.tolist() == expected.split(name).positions.tolist()
    assert set(own.tune.positions.tolist()).isdisjoint(own.certify.positions.tolist())


def test_a_run_without_settings_needs_data(made_run: Path) -> None:
    """Without config.toml nothing says what it was trained on."""
    (made_run / "config.toml").unlink()
    network = load(made_run, trust=True)
    with pytest.raises(ConfigurationError, match=r"Expected --data, since .* has no config\.toml"):
        own_splits(made_run, network, context=CONTEXT)
    assert own_splits(made_run, network, "images", context=CONTEXT).name == "images"


def test_changed_data_is_refused(made_run: Path) -> None:
    """One image less, and the split is another; one image with other pixels, and the images are."""
    network = load(made_run, trust=True)
    first = min(Path("images/train/azure").iterdir())
    kept = first.read_bytes()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(first)
    with pytest.raises((CheckpointError, ConfigurationError), match="images"):
        own_splits(made_run, network, context=CONTEXT)
    first.unlink()
    with pytest.raises((CheckpointError, ConfigurationError), match="images"):
        own_splits(made_run, network, context=CONTEXT)
    first.write_bytes(kept)
    assert len(own_splits(made_run, network, context=CONTEXT).test) == 12


def test_data_that_is_gone_names_the_path_and_the_place(made_run: Path) -> None:
    """Paths in a run are relative to where training was started."""
    network = load(made_run, trust=True)
    Path("images").rename("elsewhere")
    with pytest.raises(ConfigurationError, match=r"Expected images, which .* was trained on, seen from .*, found no"):
        own_splits(made_run, network, context=CONTEXT)


def test_other_data_needs_the_same_classes(made_run: Path) -> None:
    """Images of other classes mean nothing to the network."""
    network = load(made_run, trust=True)
    assert read_splits(made_run, network, "others", context=CONTEXT).classes == network.classes
    Path("others/train/azure").rename("others/train/zebra")
    with pytest.raises((DataError, ConfigurationError), match="zebra"):
        read_splits(made_run, network, "others", context=CONTEXT)


def test_predictions_do_not_depend_on_the_batch_size(made_run: Path) -> None:
    """One pass in batches of 7 gives what the network gives on all images at once, labels in the split's order."""
    network = load(made_run, trust=True)
    splits = own_splits(made_run, network, context=CONTEXT)
    pred = predict_split(network, splits.test, splits.preprocessing, CONTEXT)
    pixels, labels = splits.test.fetch(np.arange(12))
    with torch.no_grad():
        expected = network.eval()(splits.preprocessing.normalize(pixels))
    assert np.asarray(pred.logits) == pytest.approx(expected.numpy(), abs=1e-5)
    assert np.asarray(pred.labels).tolist() == labels.tolist()
