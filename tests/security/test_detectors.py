"""Detectors of triggered inputs on made-up features and networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shallowdeep.errors import ConfigurationError
from shallowdeep.security.detectors import (
    clustering_scores,
    detector_block,
    penultimate,
    spectral_scores,
    strip_scores,
)


def test_penultimate_features_are_what_the_last_linear_layer_reads() -> None:
    """In order of execution, not of registration; no hook is left behind."""

    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.first(x.flatten(1)).relu())
            return out

    network, images = Crossed(), torch.randn(5, 3, 2, 2)
    features, logits = penultimate(network, images)
    torch.testing.assert_close(features, network.first(images.flatten(1)).relu())
    torch.testing.assert_close(logits, network(images))
    assert not network.last._forward_pre_hooks
    with pytest.raises(ConfigurationError, match="linear layer"):
        penultimate(nn.Conv2d(3, 2, 1), images)


def test_strip_sees_a_trigger_through_every_superposition() -> None:
    """A network that answers by its brightest corner is sure whatever is laid over a white one."""

    def predict(images: Tensor) -> Tensor:
        corner = images[:, :, -1, -1].float().mean(1)
        rest = images.float().flatten(1)[:, :2]
        return torch.stack([20.0 * (corner >= 250), *(rest / 100).T], dim=1)

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (12, 3, 4, 4), generator=generator, dtype=torch.uint8)
    images[6:, :, -1, -1] = 255
    overlays = torch.randint(0, 100, (30, 3, 4, 4), generator=generator, dtype=torch.uint8)
    scores = strip_scores(predict, images, overlays, count=8)
    assert scores.max() <= 0
    assert scores[6:].min() > scores[:6].max()
    np.testing.assert_array_equal(scores, strip_scores(predict, images, overlays, count=8))


def features(poison: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, 16) of two classes, the last of class 1 shifted; classes; which are shifted."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(200, 16))
    classes = np.repeat([0, 1], 100)
    values[:100, 0] += 6
    poisoned = np.arange(200) >= 200 - poison
    values[poisoned, 5] += 8
    return values.astype(np.float32), classes, poisoned


@pytest.mark.parametrize("scores_of", [spectral_scores, clustering_scores])
def test_the_toolboxs_detectors_find_a_shifted_minority(scores_of: object) -> None:
    """Fifteen of a class's hundred lie elsewhere."""
    values, classes, poisoned = features(15)
    np.random.seed(0)  # noqa: NPY002 - the toolbox draws from the global generator
    scores = scores_of(values, classes)  # type: ignore[operator]
    assert detector_block(scores, poisoned, passes=1, note="", resamples=0).auroc > 0.97


def test_a_class_of_few_inputs_says_nothing() -> None:
    """Ten dimensions take ten inputs."""
    values, classes, _ = features(15)
    few = np.concatenate([np.arange(100), [150, 151]])
    assert (clustering_scores(values[few], classes[few])[100:] == 0).all()
    assert (spectral_scores(values[few], classes[few])[100:] == 0).all()


def test_a_block_has_figures_intervals_and_the_cost() -> None:
    """Perfect scores."""
    block = detector_block(np.arange(20.0), np.arange(20) >= 10, passes=64, note="of old", resamples=50)
    assert (block.auroc, block.fpr95, block.forward_passes, block.note) == (1.0, 0.0, 64, "of old")
    assert block.intervals["auroc"] == (1.0, 1.0)
