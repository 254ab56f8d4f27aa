"""CUDA graphs: everything but the recording itself on the CPU; what needs a GPU skips where there is none."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.inference.test_engine import BATCHES, check, images, policies, residual, statistics_of, tiny, weighted

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.inference.backends.cuda_graphs import (
    BUCKETS,
    CudaGraphs,
    CudaRecorder,
    PlainRecorder,
    Recorder,
    recorded_backbone,
)
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.precision import Precision
from shallowdeep.inference.segments import plan_segments
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.saving import Architecture

KINDS = {"plain": tiny(), "residual": tiny(residual), "cascaded": tiny(residual, cascaded=True)}
on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU here: the recording itself is not tested"
)


class CountingRecorder(PlainRecorder):
    """A plain one that counts recordings and replays."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded, self.replayed = 0, 0

    def record(self, work):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        """Count."""
        self.recorded += 1
        work()

        def again() -> None:
            self.replayed += 1
            work()

        return again


def engine_of(
    network: ShallowDeepNetwork, policy: Policy, recorder: Recorder, precision: str = "f32"
) -> EarlyExitEngine:
    """An engine on recordings."""
    engine = EarlyExitEngine(network, policy, confusion=statistics_of(network))
    engine.backend = CudaGraphs(copy.deepcopy(network), engine.segments, precision, recorder)
    return engine


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=policies, count=st.sampled_from(BATCHES), seed=st.integers(0, 20), kind=st.sampled_from(sorted(KINDS)),
)  # fmt: skip
def test_it_agrees_with_all_exits_then_policy(policy: Policy, count: int, seed: int, kind: str) -> None:
    """Whatever the policy and the batch, padded and split."""
    network = KINDS[kind]
    if kind == "cascaded":
        policy = replace(policy, thresholds=tuple(0.7 if value is None else value for value in policy.thresholds))
    check(engine_of(network, weighted(policy, seed), PlainRecorder()), network, images(count, seed))


def test_segments_are_recorded_once_for_each_size() -> None:
    """And then replayed; survivors of several batches come to the same few sizes."""
    recorder = CountingRecorder()
    engine = engine_of(KINDS["plain"], shared_threshold(NEVER, 4), recorder)
    for count in (5, 8, 6, 7):
        engine(images(count))
    assert (recorder.recorded, recorder.replayed) == (4, 16)
    engine(images(9))
    assert recorder.recorded == 8


def test_what_leaves_a_segment_is_read_in_place() -> None:
    """Without a copy where nobody left; survivors are copied into the next size's tensors."""
    network = KINDS["plain"]
    backend = CudaGraphs(network, plan_segments(shared_threshold(NEVER, 4), network.costs), "f32", PlainRecorder())
    x = backend.accept(images(7))
    features, _ = backend.run(0, x)
    backend.run(1, features)
    recordings = backend._own.recordings
    assert recordings[1, 8].x.data_ptr() == recordings[0, 8].features.data_ptr() == features.data_ptr()
    few = features[torch.tensor([0, 3])]
    _, logits = backend.run(1, few)
    with torch.no_grad():
        expected = network(images(7))[1]
    assert torch.allclose(logits, expected[[0, 3]], atol=1e-5)
    assert recordings[1, 2].x.data_ptr() not in {few.data_ptr(), features.data_ptr()}
    assert backend.rows(7) == 8
    assert backend.largest == BUCKETS[-1]


def test_padding_changes_no_answer() -> None:
    """Rows that an earlier, larger batch left behind."""
    network = KINDS["residual"]
    backend = CudaGraphs(network, plan_segments(shared_threshold(NEVER, 4), network.costs), "f32", PlainRecorder())
    alone = [value.clone() for value in backend.run(0, backend.accept(images(5)))]
    backend.run(0, backend.accept(images(8, 9) * 100))
    after = backend.run(0, backend.accept(images(5)))
    assert all(torch.equal(one, other) for one, other in zip(alone, after, strict=True))


def test_bf16_passes_borders_and_tells_logits_in_float32() -> None:
    """By autocast, on the CPU as on a GPU; logits are near float32's."""
    network = KINDS["residual"]
    engine = engine_of(network, shared_threshold(NEVER, 4), PlainRecorder(), "bf16")
    features, logits = engine.backend.run(0, engine.backend.accept(images(8)))
    with torch.no_grad():
        expected = network(images(8))
    assert (features.dtype, logits.dtype) == (torch.bfloat16, torch.float32)
    assert (logits.argmax(-1) == expected[0].argmax(-1)).float().mean() > 0.8
    static = recorded_backbone(network, "bf16", PlainRecorder())(images(8))
    assert (static.argmax(-1) == expected[-1].argmax(-1)).float().mean() > 0.8


def test_the_static_backbone_is_recorded_too() -> None:
    """Its answers are the final exit's, at every size of batch."""
    network, recorder = KINDS["plain"], CountingRecorder()
    static = recorded_backbone(network, "f32", recorder)
    with torch.no_grad():
        expected = network(images(6))[-1]
    assert torch.allclose(static(images(6).numpy()), expected, atol=1e-5)
    first = static(images(6))
    static(images(6, 1))
    assert torch.allclose(first, expected, atol=1e-5)  # it is the caller's own
    assert static(images(2)).shape == (2, 5)
    assert recorder.recorded == 2


def named() -> ShallowDeepNetwork:
    """A network that bundles can name."""
    network = convert(build("resnet20", num_classes=10, image_size=32).eval(), torch.zeros(1, 3, 32, 32))
    network.architecture = Architecture("resnet20", num_classes=10, image_size=32)
    return network


def bundled(directory: Path, precision: str = "f32") -> Path:
    """A bundle of it."""
    network = named()
    policy = shared_threshold(0.5, len(network.exits))
    write_bundle(network, policy, directory, "cuda-graphs", precision=Precision(precision))
    return directory


def test_bundles_hold_the_network(tmp_path: Path) -> None:
    """As those of torch do; int8 is refused."""
    network = named()
    images_ = torch.zeros(4, 3, 32, 32).numpy()
    with pytest.raises(ConfigurationError, match="Expected precision f32 or bf16 for cuda-graphs, got 'int8'"):
        write_bundle(
            network, shared_threshold(0.5, len(network.exits)), tmp_path / "a", "cuda-graphs",
            precision=Precision("int8", images_),
        )  # fmt: skip
    read = read_bundle(bundled(tmp_path / "b", "bf16"), static=True)
    assert (read.backend, read.precision) == ("cuda-graphs", "bf16")
    assert (tmp_path / "b" / "network" / "model.safetensors").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    """In one line, with what to do."""
    with pytest.raises(
        ConfigurationError, match="Expected a CUDA GPU for the backend 'cuda-graphs', found none; export"
    ):
        EarlyExitEngine(bundled(tmp_path / "b"))


@on_gpu
def test_recorded_graphs_agree_with_all_exits_then_policy() -> None:
    """On a GPU, at every size of batch, in turn, so that graphs share their memory."""
    for network in (tiny(), tiny(residual), tiny(residual, cascaded=True)):
        engine = engine_of(network, shared_threshold(0.8, 4), CudaRecorder())
        for count in (1, 2, 63, 257, 5, 63):
            check(engine, network, images(count, count))


@on_gpu
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_bundles_run_on_a_gpu(tmp_path: Path, precision: str) -> None:
    """The engine, and the static network beside it."""
    from shallowdeep.inference.backends.cuda_graphs import open_static  # noqa: PLC0415 - on a GPU alone

    bundle = read_bundle(bundled(tmp_path / "b", precision), static=True)
    engine = EarlyExitEngine(bundle, shared_threshold(NEVER, bundle.policy.exits))
    x = torch.randn(70, 3, 32, 32)
    answers, logits = engine(x), open_static(bundle, None)(x)
    assert (answers.labels.cpu() == logits.argmax(-1).cpu()).float().mean() > 0.95
