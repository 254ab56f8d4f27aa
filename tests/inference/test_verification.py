"""What is written is run before it is kept: frozen sizes of batch, other logits, other answers are refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.test_engine import images, plain, tiny
from torch import Tensor, nn

from shallowdeep.errors import ConversionError
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.inference.backends.openvino_models import precisions
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.export import BundleWriter, write_bundle
from shallowdeep.inference.precision import Precision
from shallowdeep.inference.verification import LEAST_EQUAL, agreement, verify
from shallowdeep.sdn.network import ShallowDeepNetwork

EVERY = shared_threshold(NEVER, 4)
BACKENDS = ("onnxruntime", "openvino")


class Windows(nn.Module):
    """Cuts maps into windows and joins them, by a number that exporters take for a constant (Swin's old code)."""

    def forward(self, x: Tensor) -> Tensor:
        """The maps."""
        n, c, h, w = x.shape
        windows = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 4, c)
        n = int(windows.shape[0] / (h * w / 4 / 4))
        return windows.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def windowed() -> nn.Sequential:
    """The plain network with windows in its middle."""
    layers = list(plain())
    return nn.Sequential(*layers[:3], Windows(), *layers[3:])


def changed(network: ShallowDeepNetwork) -> ShallowDeepNetwork:
    """A copy whose last internal classifier has other weights."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.internal_classifiers[-1].get_parameter("linear.weight").mul_(-3)
    return other


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frozen_size_of_batch_is_refused(tmp_path: Path, backend: str) -> None:
    """Nothing is written; the message names the file and what is behind it."""
    network = tiny(windowed)
    with pytest.raises(ConversionError, match=r"segment-\d\.(onnx|xml) \(up to .*\) .* batch of [13]") as caught:
        write_bundle(network, EVERY, tmp_path / "b", backend)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_logits_are_refused(tmp_path: Path, backend: str) -> None:
    """By the exit that they are of; what was written itself passes."""
    network = tiny()
    bundle = BundleWriter(network, backend).write(EVERY, tmp_path / "b")
    verify(bundle, network)
    with pytest.raises(
        ConversionError, match=r"Expected segment-2\..* to compute the network's logits in a batch of 1"
    ):
        verify(bundle, changed(network))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precision_is_compared_with_float32(tmp_path: Path, precision: str) -> None:
    """The share of equal answers stands in the bundle; too few are refused, and the exit is named."""
    if precision not in precisions():
        pytest.skip(f"this processor has no {precision}")
    network, x = tiny(), images(64, 5).numpy()
    numbers = Precision(precision, images(64, 7).numpy() if precision == "int8" else None)
    policy = Policy((None, None, 0.0))  # all leave at the last internal classifier
    bundle = write_bundle(network, policy, tmp_path / "b", "openvino", precision=numbers, compared=x, least_equal=0.8)
    assert bundle.agreement is not None
    assert bundle.agreement.images == 64
    assert 0.8 <= bundle.agreement.equal <= 1
    assert read_bundle(bundle.path).agreement == bundle.agreement
    with pytest.raises(ConversionError, match=r"at least 98% of the answers in .*; exit 2 \(.*\) agrees on"):
        agreement(bundle, changed(network), x, LEAST_EQUAL)


def test_float32_is_compared_with_the_network_alone(tmp_path: Path) -> None:
    """No answers are counted."""
    bundle = write_bundle(tiny(), EVERY, tmp_path / "b", "onnxruntime", compared=np.zeros((1, 3, 16, 16), np.float32))
    assert bundle.agreement is None
