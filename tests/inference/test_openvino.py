"""OpenVINO at lower precision: what passes borders, and that engines agree with the same graph uncut."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.inference.test_engine import (
    BATCHES,
    NEAR,
    clear,
    images,
    plain,
    policies,
    residual,
    statistics_of,
    tiny,
    unhurried,
    weighted,
)
from torch import nn

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.policy import NEVER, Policy, decide, shared_threshold
from shallowdeep.exits.promises import Promise
from shallowdeep.inference.backends.openvino_models import options, precisions, sized
from shallowdeep.inference.backends.openvino_runtime import BUCKETS, OpenVino, bucket_of
from shallowdeep.inference.bundle import Bundle, read_bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.openvino_core import core
from shallowdeep.inference.precision import Precision
from shallowdeep.sdn.network import ShallowDeepNetwork

EVERY = shared_threshold(NEVER, 4)
PROMISE = Promise("kept", "accuracy-gap", 0.01, 0.95, "own final exit", 400, "exact", 0.01)


@pytest.fixture(scope="module")
def network() -> ShallowDeepNetwork:
    """Four blocks with shortcuts, three internal classifiers."""
    return tiny(residual)


@pytest.fixture(scope="module", params=["bf16", "int8"])
def bundle(
    request: pytest.FixtureRequest, network: ShallowDeepNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A bundle with all exits at a lower precision."""
    name = request.param
    if name not in precisions():
        pytest.skip(f"this processor has no {name}")
    precision = Precision(name, images(64, 7).numpy() if name == "int8" else None)
    return write_bundle(
        network, EVERY, tmp_path_factory.mktemp(name) / "bundle", "openvino", precision=precision, least_equal=0.0
    )


def all_exits(bundle: Bundle, x: np.ndarray) -> np.ndarray:
    """Logits (E, n, C) of every segment, one after the other, at one size of batch."""
    backend = OpenVino([bundle.path / name for name in bundle.files], 1, bundle.precision)
    found, features = [], backend.accept(x)
    for number in range(len(bundle.files)):
        features, logits = backend.run(number, features)
        found.append(logits.copy())
    return np.stack(found)


def test_borders_keep_the_type_that_is_computed_in(bundle: Bundle) -> None:
    """8-bit integers where the graph is quantised, bfloat16 where the processor computes in it, channels last."""
    types = {
        port.element_type.get_type_name()
        for name in bundle.files[1:]
        for port in core().read_model(bundle.path / name).inputs
    }
    assert types == ({"u8"} if bundle.precision == "int8" else types & {"bf16", "f32"})
    shape = core().read_model(bundle.path / bundle.files[1]).input(0).get_partial_shape()
    assert shape[1 if bundle.precision == "int8" else 3] == 8  # channels
    assert read_bundle(bundle.path, static=True).precision == bundle.precision


def pooled() -> nn.Sequential:
    """Convolutions in pairs with a pooling after each, as in VGG: borders lie behind poolings and between pairs."""
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 12), (12, 16)):
        for inputs in (before, after):
            layers += [nn.Conv2d(inputs, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="other processors have other kernels")
@pytest.mark.parametrize("build", [plain, residual, pooled])
def test_all_convolutions_of_a_quantised_network_are_8_bit(build: Callable[[], nn.Sequential], tmp_path: Path) -> None:
    """The first one behind a border too: in floating point it takes most of a segment's time."""
    cut = write_bundle(
        tiny(build),
        EVERY,
        tmp_path / "b",
        "openvino",
        precision=Precision("int8", images(64, 7).numpy()),
        least_equal=0.0,
    )
    computed = []
    for name in (*cut.files, str(cut.static)):
        model = core().compile_model(sized(core().read_model(cut.path / name), 4), "CPU", options(1, "int8"))
        told = [node.get_rt_info() for node in model.get_runtime_model().get_ordered_ops()]
        computed += [
            info["runtimePrecision"].astype(str) for info in told if info["layerType"].astype(str) == "Convolution"
        ]
    assert len(computed) > 8
    assert set(computed) <= {"u8", "i8"}


@unhurried
@given(policy=policies, count=st.sampled_from(BATCHES), seed=st.integers(0, 20))
def test_the_engine_agrees_with_all_exits_then_policy(
    bundle: Bundle, network: ShallowDeepNetwork, policy: Policy, count: int, seed: int
) -> None:
    """Whatever leaves when, at every size of batch: labels and exits are those of the same segments on all images."""
    x = images(count, seed).numpy()
    policy = weighted(policy, seed)
    engine = EarlyExitEngine(bundle, policy, threads=1, confusion=statistics_of(network))
    got = engine(x)
    if not count:
        assert len(got.labels) == 0
        return
    logits = np.concatenate([all_exits(bundle, x[start : start + 256]) for start in range(0, count, 256)], axis=1)
    expected, steady = decide(policy, logits, network.costs), clear(policy, logits)
    for name in ("exits", "labels", "answered_by", "forced"):
        assert np.array_equal(getattr(got, name)[steady], getattr(expected, name)[steady]), name
    assert got.confidences[steady] == pytest.approx(expected.confidences[steady], abs=NEAR)


def test_the_cut_graph_is_the_whole_graph(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """Quantised whole, then cut: the static network of a bundle without cuts gives the last segment's logits."""
    x = images(64, 5).numpy()
    precision = Precision("int8", images(64, 7).numpy())
    cut = write_bundle(network, EVERY, tmp_path / "cut", "openvino", precision=precision, static=False, least_equal=0.0)
    whole = write_bundle(
        network, Policy((None,) * 3), tmp_path / "whole", "openvino", precision=precision, static=False, least_equal=0.0
    )
    assert len(whole.files) == 1
    borders = all_exits(cut, x)[-1]
    assert np.abs(borders - all_exits(whole, x)[-1]).max() < 1e-4 * np.abs(borders).max()


def test_answers_are_near_those_of_float32(bundle: Bundle, network: ShallowDeepNetwork) -> None:
    """On images that the scales were not found by; no sample is left out."""
    x = images(256, 11)
    with torch.no_grad():
        wanted = network(x).numpy()
    got = all_exits(bundle, x.numpy())
    assert (got.argmax(-1) == wanted.argmax(-1)).mean() > 0.95


@pytest.mark.skipif("bf16" not in precisions(), reason="this processor has no bf16")
def test_promises_are_made_for_float32_alone(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """A bundle of another precision carries none."""
    policy = Policy((0.8, None, 0.8), promise=PROMISE)
    kept = write_bundle(network, policy, tmp_path / "f32", "openvino", static=False)
    dropped = write_bundle(network, policy, tmp_path / "bf16", "openvino", precision=Precision("bf16"), static=False)
    assert (kept.policy.promise, dropped.policy.promise) == (PROMISE, None)
    assert (kept.precision, dropped.precision) == ("f32", "bf16")


def test_sizes_of_batch_are_few() -> None:
    """The next size that is compiled for; more samples than the largest are split before."""
    assert [bucket_of(count) for count in (1, 2, 3, 9, 64, 65, 256, 300)] == [1, 2, 3, 10, 64, 80, 256, 256]
    assert list(BUCKETS) == sorted(set(BUCKETS))
    padded = [1 - count / bucket_of(count) for count in range(1, 257)]
    assert max(padded) < 0.2


def test_what_cannot_be_written_is_refused(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """Precisions that a runtime has not, unknown ones, and int8 without images."""
    with pytest.raises(ConfigurationError, match="Expected precision f32 for onnxruntime, got 'bf16'"):
        write_bundle(network, EVERY, tmp_path / "a", "onnxruntime", precision=Precision("bf16"))
    with pytest.raises(UnknownNameError, match="precision, got 'int4'; nearest: int8"):
        Precision("int4")
    with pytest.raises(ConfigurationError, match="images to find the scales of int8 by"):
        Precision("int8")
    assert not list(tmp_path.iterdir())
