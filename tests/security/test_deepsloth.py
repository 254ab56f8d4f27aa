"""DeepSloth keeps to its bounds and does what it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.security.deepsloth import DeepSloth, to_pixels, with_perturbation

PREPROCESSING = Preprocessing(8, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SLOTH = DeepSloth(PREPROCESSING, epsilon=16 / 255, step=4 / 255, iterations=12)


@pytest.fixture
def network() -> ShallowDeepNetwork:
    """Two internal classifiers, sure of what they say."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 8), (8, 8)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    found = convert(backbone, torch.zeros(1, 3, 8, 8), fractions=(0.4, 0.8))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(2.0)
    return found.train()


def images(seed: int = 1) -> Tensor:
    """Eight noisy images, normalised."""
    pixels = torch.randint(0, 256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return PREPROCESSING.normalize(pixels)


def undecided(network: ShallowDeepNetwork, given: Tensor) -> float:
    """Mean cross-entropy of all exits from the uniform distribution."""
    network.eval()
    with torch.no_grad():
        value = -torch.log_softmax(network(given), -1).mean()
    network.train()
    return float(value)


def test_changed_images_are_less_decided_and_within_bounds(network: ShallowDeepNetwork) -> None:
    """No pixel moves by more than 16, and all are pixels."""
    given = images()
    changed = SLOTH(network, given)
    assert undecided(network, changed) < undecided(network, given)
    before, after = to_pixels(given, PREPROCESSING).int(), to_pixels(changed, PREPROCESSING).int()
    assert 0 < (after - before).abs().max() <= 16
    torch.testing.assert_close(PREPROCESSING.normalize(to_pixels(given, PREPROCESSING)), given, atol=1e-4, rtol=0)


def test_pixels_of_a_network_with_another_order_of_channels_are_rgb(network: ShallowDeepNetwork) -> None:
    """What was normalised comes back as it was; a change for all is turned round too."""
    bgr = replace(PREPROCESSING, channel_order="bgr")
    pixels = to_pixels(images(), PREPROCESSING)
    assert torch.equal(to_pixels(bgr.normalize(pixels), bgr), pixels)
    change = replace(SLOTH, preprocessing=bgr).universal(network, [images(1)])
    assert torch.equal(change, SLOTH.universal(network, [images(1)]).flip(1))


def test_the_network_is_left_as_it_was(network: ShallowDeepNetwork) -> None:
    """Mode, weights, running statistics and gradients."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    SLOTH(network, images())
    SLOTH.universal(network, [images()])
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_images_are_changed_each_on_its_own(network: ShallowDeepNetwork) -> None:
    """A batch gives what its halves give."""
    given = images()
    halves = torch.cat([SLOTH(network, given[:3]), SLOTH(network, given[3:])])
    torch.testing.assert_close(SLOTH(network, given), halves, atol=1e-4, rtol=0)


def test_one_change_for_all_works_on_images_it_has_not_seen(network: ShallowDeepNetwork) -> None:
    """Within its bound."""
    change = SLOTH.universal(network, [images(1)[:4], images(1)[4:]])
    assert change.shape == (1, 3, 8, 8)
    assert float(change.abs().max()) <= 16 / 255 + 1e-6
    pixels = to_pixels(images(2), PREPROCESSING)
    changed = with_perturbation(pixels, change)
    assert (changed.int() - pixels.int()).abs().max() <= 16
    assert undecided(network, PREPROCESSING.normalize(changed)) < undecided(network, PREPROCESSING.normalize(pixels))


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"epsilon": 1.5}, {"step": 0.0}, {"iterations": 0}])
def test_numbers_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    """In one line."""
    with pytest.raises(ConfigurationError, match="Expected"):
        DeepSloth(PREPROCESSING, **wrong)  # type: ignore[arg-type]
