"""Every engine agrees with "all exits, then policy", whatever policy, backend and batch size."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.exits.ensembles import drawn
from torch import Tensor, nn

from shallowdeep.calibration.abstention_fit import confusion_of
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.abstention import Abstention, doubts
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import FALLBACKS, NEVER, Decisions, Policy, decide, shared_threshold
from shallowdeep.exits.signals import SIGNALS, scan_exits
from shallowdeep.inference.backends import onnx_runtime
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.segments import plan_segments
from shallowdeep.inference.single_image import SingleImage
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork

NEAR = 1e-4
BATCHES = (0, 1, 2, 63, 257)
LIMIT = 0.9  # relative cost: ends before the final exit
Floats: TypeAlias = np.ndarray[Any, Any]
Exported: TypeAlias = dict[str, tuple[ShallowDeepNetwork, Bundle]]
SIZE = 16


def plain() -> nn.Sequential:
    """Five convolutions in a row."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 8, 1), (8, 8, 2), (8, 12, 1), (12, 12, 1), (12, 16, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


class Shortcut(nn.Module):
    """A convolution whose input is added to its output: where a segment begins here, two things read its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, H, W) to the same."""
        return torch.relu(self.conv(x) + x)


def residual() -> nn.Sequential:
    """Four blocks with shortcuts."""
    blocks = [Shortcut() for _ in range(4)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def tiny(build: Callable[[], nn.Sequential] = plain, *, cascaded: bool = False) -> ShallowDeepNetwork:
    """A network with three internal classifiers whose confidences spread widely."""
    torch.manual_seed(0)
    backbone = build()
    network = convert(backbone, torch.zeros(1, 3, SIZE, SIZE), fractions=(0.2, 0.5, 0.8), cascaded=cascaded).eval()
    with torch.no_grad():
        logits = network(images(200, seed=99))  # (E, N, C)
        last = [*(f"internal_classifiers.{k}.linear" for k in range(3)), f"backbone.{len(backbone) - 1}"]
        for path, given_ in zip(last, logits, strict=True):
            linear = network.get_submodule(path)
            scale = 2.5 / given_.std(dim=0).mean()
            shift = given_.mean(dim=0) - linear.get_parameter("bias")
            linear.get_parameter("weight").mul_(scale)
            linear.get_parameter("bias").copy_(-shift * scale)
    network.preprocessing = Preprocessing(SIZE, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    network.classes = ("a", "b", "c", "d", "e")
    return network


@pytest.fixture(scope="module")
def network() -> ShallowDeepNetwork:
    """The tiny network."""
    return tiny()


@pytest.fixture(scope="module")
def bundle(network: ShallowDeepNetwork, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An ONNX bundle of it with all exits on."""
    directory = tmp_path_factory.mktemp("bundles") / "all"
    return write_bundle(network, shared_threshold(NEVER, 4), directory, "onnxruntime")


def images(count: int, seed: int = 0) -> Tensor:
    """Random images, normalised."""
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def reference(network: ShallowDeepNetwork, policy: Policy, x: Tensor) -> tuple[Decisions, np.ndarray[Any, Any]]:
    """All exits, then policy; and the logits."""
    with torch.no_grad():
        logits = network(x).numpy()
    return decide(policy, logits, network.costs), logits


def clear(policy: Policy, logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Samples that rounding cannot move: no confidence near its threshold, no near tie of the top two logits."""
    used = np.stack([logits[k] / np.float32(policy.temperature_at(k)) for k in policy.in_use])
    confidence, scores = scan_exits(policy.signal, used, len(policy.in_use), policy.ensemble)
    limits = np.array([policy.threshold_at(k) for k in policy.in_use])[:, None]
    ordered = np.sort(scores, axis=-1)
    surest = np.sort(confidence, axis=0)
    steady = np.all(np.abs(confidence - limits)[:-1] > NEAR, axis=0)
    steady &= np.all(ordered[..., -1] - ordered[..., -2] > NEAR, axis=0)
    if policy.fallback == "most-confident" and len(policy.in_use) > 1:
        steady &= surest[-1] - surest[-2] > NEAR
    return np.asarray(steady)


def check(engine: EarlyExitEngine, network: ShallowDeepNetwork, x: Tensor) -> int:
    """Compare an engine's answers with the reference; returns how many samples were compared."""
    policy = engine.policy
    got = engine(x)
    assert got.probabilities is None
    told = engine(x, probabilities=True)
    assert all(
        np.array_equal(to_numpy(one), to_numpy(other), equal_nan=True)
        for one, other in zip(got, told, strict=True)
        if one is not None
    )
    expected, logits = reference(network, policy, x)
    steady = clear(policy, logits) if len(x) else np.zeros(0, dtype=bool)
    for name in ("exits", "labels", "answered_by", "forced"):
        mine, theirs = to_numpy(getattr(got, name)), getattr(expected, name)
        assert np.array_equal(mine[steady], theirs[steady]), name
    assert to_numpy(got.confidences)[steady] == pytest.approx(expected.confidences[steady], abs=NEAR)
    probabilities = to_numpy(told.probabilities)
    wanted = probabilities_of(policy, logits, expected.answered_by)
    assert probabilities.shape == wanted.shape == (len(x), 5)
    assert probabilities[steady] == pytest.approx(wanted[steady], abs=NEAR)
    reached = {segment.exit: segment.relative_cost for segment in engine.segments}
    assert to_numpy(got.relative_costs).tolist() == pytest.approx(
        [reached[int(e)] for e in to_numpy(got.exits)], rel=1e-6
    )
    if got.confusions is not None:
        confused = confusion_of(policy, logits, expected, statistics_of(network))
        assert to_numpy(got.confusions)[steady] == pytest.approx(confused[steady], abs=NEAR, nan_ok=True)
        if policy.abstention is not None:
            doubt = doubts(policy.abstention.indicator, expected.confidences, confused)
            plain_case = steady & (np.abs(doubt - policy.abstention.threshold) > NEAR)
            withheld = policy.abstention.withholds(expected.confidences, confused)
            assert np.array_equal(to_numpy(got.abstained)[plain_case], withheld[plain_case])
    return int(steady.sum())


def probabilities_of(policy: Policy, logits: Floats, answered_by: Floats) -> Floats:
    """Probabilities (N, C) by the definition, sample by sample, from logits (E, N, C)."""
    found = np.zeros(logits.shape[1:])
    for sample, exit_ in enumerate(answered_by.tolist()):
        passed = [k for k in policy.in_use if k <= exit_]
        used = np.stack([logits[k, sample].astype(float) / policy.temperature_at(k) for k in passed])
        logarithms = used - np.log(np.exp(used).sum(axis=1, keepdims=True))
        scores = logarithms[-1]
        if policy.signal == "ensemble":
            k = len(passed) - 1
            weights = [1.0] * (k + 1) if policy.ensemble is None else policy.ensemble.weights[k]
            bias = 0.0 if policy.ensemble is None else np.array(policy.ensemble.biases[k])
            scores = sum(w * row for w, row in zip(weights, logarithms, strict=True)) / (k + 1) + bias
        found[sample] = np.exp(scores) / np.exp(scores).sum()
    return found


def statistics_of(network: ShallowDeepNetwork) -> ConfusionStatistics:
    """Confusion on some images."""
    with torch.no_grad():
        return ConfusionStatistics.over([network(images(50, seed=98)).numpy()])


thresholds = st.one_of(st.none(), st.floats(0, 1.1))
policies = st.builds(
    Policy,
    thresholds=st.tuples(thresholds, thresholds, thresholds),
    signal=st.sampled_from(SIGNALS),
    fallback=st.sampled_from(FALLBACKS),
    temperatures=st.sampled_from([(), (1.5, 0.7, 1.2, 2.0)]),
    abstention=st.sampled_from([None, Abstention("confidence", 0.4), Abstention("confusion", 0.3)]),
)


def weighted(policy: Policy, seed: int) -> Policy:
    """The policy, for odd seeds with weights for its ensemble."""
    if policy.signal != "ensemble" or not seed % 2:
        return policy
    return replace(policy, ensemble=drawn(len(policy.in_use), 5, seed))


unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@unhurried
@given(policy=policies, count=st.sampled_from(BATCHES), seed=st.integers(0, 20), limit=st.sampled_from([None, LIMIT]))
def test_torch_agrees_with_all_exits_then_policy(
    network: ShallowDeepNetwork, policy: Policy, count: int, seed: int, limit: float | None
) -> None:
    """Eager PyTorch, with cost limits too."""
    policy = replace(weighted(policy, seed), max_relative_cost=limit)
    x = images(count, seed)
    if limit is not None and policy.in_use == (3,):
        with pytest.raises(ConfigurationError, match="Expected a highest relative cost of at least"):
            EarlyExitEngine(network, policy, confusion=statistics_of(network))
        return
    check(EarlyExitEngine(network, policy, confusion=statistics_of(network)), network, x)


@pytest.fixture(scope="module")
def exported(network: ShallowDeepNetwork, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Bundles of five kinds for ONNX Runtime, each with its network."""
    return kinds(network, "onnxruntime", tmp_path_factory)


@pytest.fixture(scope="module")
def in_openvino(network: ShallowDeepNetwork, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same for OpenVINO."""
    return kinds(network, "openvino", tmp_path_factory)


def kinds(network: ShallowDeepNetwork, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Bundles of five kinds, each with its network."""
    directory = tmp_path_factory.mktemp("kinds")
    shortcuts, chained = tiny(residual), tiny(residual, cascaded=True)
    every = shared_threshold(NEVER, 4)
    made: Exported = {}
    for kind, one, policy in (
        ("all exits", network, every),
        ("fused", network, Policy((NEVER, None, NEVER))),
        ("limited", network, Policy(every.thresholds, max_relative_cost=LIMIT)),
        ("residual", shortcuts, every),
        ("cascaded", chained, every),
    ):
        made[kind] = one, write_bundle(one, policy, directory / kind, backend, static=False)
    return made


@unhurried
@given(
    policy=policies,
    count=st.sampled_from(BATCHES),
    seed=st.integers(0, 20),
    kind=st.sampled_from(["all exits", "fused", "limited", "residual", "cascaded"]),
)
def test_onnxruntime_agrees_with_all_exits_then_policy(
    exported: Exported, policy: Policy, count: int, seed: int, kind: str
) -> None:
    """ONNX Runtime on bundles with all exits, fused stages, a cost limit, shortcuts, under policies that use some."""
    check_kind(exported, policy, count, seed, kind)


@unhurried
@given(
    policy=policies,
    count=st.sampled_from(BATCHES),
    seed=st.integers(0, 20),
    kind=st.sampled_from(["all exits", "fused", "limited", "residual", "cascaded"]),
)
def test_openvino_agrees_with_all_exits_then_policy(
    in_openvino: Exported, policy: Policy, count: int, seed: int, kind: str
) -> None:
    """OpenVINO likewise, padded to the sizes of batch that it is compiled for; 257 are more than the largest."""
    check_kind(in_openvino, policy, count, seed, kind)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_network_in_memory_runs_in_other_runtimes(network: ShallowDeepNetwork, backend: str) -> None:
    """At several sizes of batch: what the runtime reads later is still there."""
    engine = EarlyExitEngine.from_network(network, shared_threshold(0.7, 4), backend=backend, threads=1)
    assert sum(check(engine, network, images(count)) for count in (1, 7, 64)) > 50


def check_kind(exported: Exported, policy: Policy, count: int, seed: int, kind: str) -> None:
    """Compare a kind of bundle with the reference, under a policy made to fit."""
    network, bundle = exported[kind]
    if kind == "fused":
        policy = replace(policy, thresholds=(policy.thresholds[0], None, policy.thresholds[2]))
    if kind == "limited":
        given_ = tuple(0.7 if value is None else value for value in policy.thresholds)  # it takes no other exits
        policy = replace(policy, thresholds=given_, max_relative_cost=LIMIT)
    policy = weighted(policy, seed)
    engine = EarlyExitEngine(bundle, policy, threads=1, confusion=statistics_of(network))
    check(engine, network, images(count, seed))
    if count == 1 and SingleImage.fits(policy):  # without confusion, one image goes a way of its own
        alone = EarlyExitEngine(bundle, policy, threads=1)
        for image in images(20, seed).numpy():
            check(alone, network, torch.from_numpy(image[None]))


@pytest.mark.parametrize("thresholds", [(None, None, None), (0.7, None, None), (None, None, 0.8)])
def test_a_bundle_that_a_cost_limit_ends_takes_no_other_exits(
    exported: Exported, thresholds: tuple[float | None, ...]
) -> None:
    """With fewer heads a policy may go further than the bundle's last segment, so its answers would differ."""
    _, bundle = exported["limited"]
    assert bundle.segments[-1].exit < bundle.policy.exits - 1
    with pytest.raises(ConfigurationError, match="which a cost limit ends, got"):
        EarlyExitEngine(bundle, Policy(thresholds, max_relative_cost=LIMIT), threads=1)


def test_the_arena_is_made_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would make another arena at each registration, and keep them all."""
    made: list[object] = []
    monkeypatch.setattr(onnx_runtime, "_share_memory", cache(onnx_runtime._share_memory.__wrapped__))
    monkeypatch.setattr(onnxruntime, "create_and_register_allocator", lambda *given_: made.append(given_))
    for _ in range(2):
        EarlyExitEngine(bundle, threads=1)
    assert len(made) == 1


def test_a_segment_inside_a_residual_network_keeps_its_maps_in_blocks(exported: Exported) -> None:
    """The bundle of the network with shortcuts is the one whose later segments begin with a pooling of one pixel."""
    begins = {
        kind: onnx.load(bundle.path / bundle.files[1]).graph.node[0].op_type for kind, (_, bundle) in exported.items()
    }
    assert begins["residual"] == "MaxPool"
    assert begins["all exits"] != "MaxPool"


def test_most_samples_are_compared(network: ShallowDeepNetwork) -> None:
    """The tests above would pass if every sample lay near a threshold; nearly none does, and all exits are taken."""
    policy = shared_threshold(0.8, 4)
    x = images(257)
    assert check(EarlyExitEngine(network, policy), network, x) > 240
    assert set(to_numpy(EarlyExitEngine(network, policy)(x).exits).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("always", [True, False])
def test_compaction_changes_no_answer(network: ShallowDeepNetwork, always: bool) -> None:
    """Whether finished samples leave the batch at every exit or never, the answers are the same."""
    for policy in (
        shared_threshold(0.8, 4),
        Policy((0.9, None, 0.7), fallback="most-confident"),
        shared_threshold(0.45, 4, signal="patience"),
        shared_threshold(0.7, 4, signal="ensemble", fallback="most-confident", max_relative_cost=0.9),
    ):
        engine, x = EarlyExitEngine(network, policy), images(63, 5)
        engine.backend.macs_per_byte = 0.0 if always else float("inf")
        assert check(engine, network, x) > 50


@unhurried
@given(policy=policies, count=st.sampled_from(BATCHES), seed=st.integers(0, 20))
def test_cascaded_classifiers_read_those_before_them(policy: Policy, count: int, seed: int) -> None:
    """Eager PyTorch hands logits on through compaction; policies that leave out what others read are refused."""
    network = chained()
    internal = policy.in_use[:-1]
    if internal != tuple(range(len(internal))):
        with pytest.raises(ConfigurationError, match="Expected no exit switched off before one in use"):
            EarlyExitEngine(network, policy, confusion=statistics_of(network))
        return
    check(
        EarlyExitEngine(network, weighted(policy, seed), confusion=statistics_of(network)), network, images(count, seed)
    )


@cache
def chained() -> ShallowDeepNetwork:
    """The tiny network with cascaded classifiers."""
    return tiny(cascaded=True)


def test_ensembles_of_other_classes_are_refused(network: ShallowDeepNetwork) -> None:
    """By the engine as by `decide`."""
    policy = shared_threshold(0.5, 4, signal="ensemble", ensemble=drawn(4, 3, 0))
    with pytest.raises(DataError, match="Expected logits of 3 classes, got 5"):
        EarlyExitEngine(network, policy)(images(2))


def test_cascades_matter(exported: Exported) -> None:
    """The tests above would pass if the classifiers ignored what they are handed: without it, logits differ."""
    network, bundle = exported["cascaded"]
    x = images(5)
    engine = EarlyExitEngine(bundle, threads=1)
    features, first = engine.backend.run(0, engine.backend.accept(x))
    with torch.no_grad():
        expected = network(x).numpy()
    assert np.abs(engine.backend.run(1, features, first)[1] - expected[1]).max() < NEAR
    assert np.abs(engine.backend.run(1, features, first[::-1].copy())[1] - expected[1]).max() > 0.1


def test_finished_samples_leave_the_batch(network: ShallowDeepNetwork) -> None:
    """Later segments get the survivors alone, and none when nobody is left."""
    policy = shared_threshold(0.8, 4)
    engine = EarlyExitEngine(network, policy)
    sizes = []
    run = engine.backend.run

    def counted(number: int, x: Tensor, previous: Tensor | None = None, beside: object = None) -> tuple[Tensor, Tensor]:
        del beside
        sizes.append(len(x))
        result: tuple[Tensor, Tensor] = run(number, x, previous)
        return result

    engine.backend.run = counted  # type: ignore[method-assign]
    exits = to_numpy(engine(images(63)).exits)
    assert sizes == [63, *(int((exits > k).sum()) for k in range(3))]
    sizes.clear()
    engine(images(63)[exits == 0])
    assert len(sizes) == 1


def test_stages_between_exits_in_use_are_fused(network: ShallowDeepNetwork) -> None:
    """Three calls become two when the middle exit is off, and its head's cost is gone."""
    heads = network.costs.heads
    assert min(heads) > 0
    both = plan_segments(Policy((0.5, 0.5, None)), network.costs)
    one = plan_segments(Policy((None, 0.5, None)), network.costs)
    assert [(s.first, s.last) for s in both] == [(0, 0), (1, 1), (2, 3)]
    assert [(s.first, s.last) for s in one] == [(0, 1), (2, 3)]
    assert one[0].relative_cost == pytest.approx(both[1].relative_cost - heads[0])
    assert one[-1].relative_cost == pytest.approx(1 + heads[1])


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (torch.zeros(2, 1, SIZE, SIZE), r"Expected images of shape \(N, 3, 16, 16\), got \(2, 1, 16, 16\)"),
        (torch.zeros(2, 3, SIZE, SIZE + 1), r"got \(2, 3, 16, 17\)"),
        (torch.zeros(3, SIZE, SIZE), r"got \(3, 16, 16\)"),
        (torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), "Expected normalised images in floating point, got dtype"),
        (torch.full((2, 3, SIZE, SIZE), torch.nan), "Expected finite images"),
        (torch.full((2, 3, SIZE, SIZE), torch.inf), "Expected finite images"),
    ],
)
@pytest.mark.parametrize("kind", ["torch", "bundle"])
def test_wrong_input_is_refused(
    network: ShallowDeepNetwork, bundle: Bundle, kind: str, given_: Tensor, message: str
) -> None:
    """Never a wrong answer: other shapes, and values that are not finite, even if only one is."""
    engine = (
        EarlyExitEngine(network, shared_threshold(0.0, 4)) if kind == "torch" else EarlyExitEngine(bundle, threads=1)
    )
    with pytest.raises(DataError, match=message):
        engine(given_ if kind == "torch" else given_.numpy())


@pytest.mark.parametrize("kind", ["torch", "bundle"])
def test_floating_point_of_any_kind_is_taken(network: ShallowDeepNetwork, bundle: Bundle, kind: str) -> None:
    """Tensors that require gradients too; answers hold none. Other dtypes are computed in float32."""
    policy = shared_threshold(0.8, 4)
    engine = EarlyExitEngine(network, policy) if kind == "torch" else EarlyExitEngine(bundle, policy, threads=1)
    x = images(8)
    expected = to_numpy(engine(x).confidences)
    asked = engine(x.clone().requires_grad_())
    assert np.array_equal(to_numpy(asked.confidences), expected)
    for dtype, near in ((torch.float64, 1e-5), (torch.float16, 0.02), (torch.bfloat16, 0.1)):
        assert to_numpy(engine(x.to(dtype)).confidences) == pytest.approx(expected, abs=near), dtype


def test_engines_of_bundles_can_be_pickled(network: ShallowDeepNetwork, bundle: Bundle) -> None:
    """They open the bundle again, with the same policy; those of networks say why not."""
    policy = shared_threshold(0.7, 4)
    x = images(8).numpy()
    for engine in (
        EarlyExitEngine(bundle, policy, threads=1, confusion=statistics_of(network)),
        EarlyExitEngine.from_bundle(bundle.path, policy=policy),
    ):
        again = pickle.loads(pickle.dumps(engine))  # noqa: S301 - its own
        assert again.policy == policy
        assert np.array_equal(again(x).labels, engine(x).labels)
        assert (again(x).confusions is None) == (engine(x).confusions is None)
    with pytest.raises(TypeError, match="got one of a network in memory; export it"):
        pickle.dumps(EarlyExitEngine(network, policy))


def test_a_network_trained_meanwhile_still_answers_in_eval_mode(network: ShallowDeepNetwork) -> None:
    """Putting the network back in train mode changes no answer, and no BatchNorm statistics."""
    policy = shared_threshold(0.8, 4)
    engine = EarlyExitEngine(network, policy)
    network.train()
    assert check(engine, network.eval(), images(63)) > 50
    network.train()
    before = [buffer.clone() for buffer in network.buffers()]
    engine(images(8))
    assert all(torch.equal(one, other) for one, other in zip(before, network.buffers(), strict=True))


def test_large_finite_values_are_accepted(network: ShallowDeepNetwork) -> None:
    """Values whose sum overflows are finite all the same."""
    x = images(2)
    x[0, 0, 0, 0] = x[1, 1, 1, 1] = 3e38
    assert to_numpy(EarlyExitEngine(network, shared_threshold(0.0, 4))(x).exits).tolist() == [0, 0]


def test_policies_that_do_not_fit_a_bundle_are_refused(network: ShallowDeepNetwork, tmp_path: Path) -> None:
    """Exits that were not exported, other weights, another number of exits, another backend."""
    known = tiny()
    known.weights = "ab" * 32
    some = write_bundle(known, Policy((0.5, None, None)), tmp_path / "some", "onnxruntime", static=False)
    for policy, message in (
        (Policy((0.5, 0.5, None)), r"uses exits \[0, 3\] .* got \[1\] besides; export again"),
        (Policy((0.5, None, None), weights="cd" * 32), "Expected a policy for the weights abab"),
        (Policy((0.5, None)), "Expected a policy for 4 exits"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            EarlyExitEngine(some, policy)
    with pytest.raises(ConfigurationError, match="Expected the backend of"):
        EarlyExitEngine(some, backend="torch")
    named = tiny()
    named.weights = "ef" * 32
    with pytest.raises(ConfigurationError, match=r"weights efefefefefef... of the network, got one for cdcdcdcdcdcd"):
        EarlyExitEngine(named, Policy((0.5, None, None), weights="cd" * 32))
    with pytest.raises(ConfigurationError, match="Expected a policy beside a network, got none"):
        EarlyExitEngine(network)
    with pytest.raises(ConfigurationError, match="Expected the name of a backend, got 'onnxrt'; nearest: onnxruntime"):
        EarlyExitEngine(network, shared_threshold(0.5, 4), "onnxrt")
