"""ONNX files of networks of every layout give the network's logits, at batch sizes other than the example's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.backends.onnx_runtime import OWN_IDLE, OnnxRuntime, session
from shallowdeep.inference.onnx_export import (
    PooledHead,
    export_segments,
    export_static,
    inference_head,
    keep_maps_blocked,
)
from shallowdeep.inference.segments import plan_segments
from shallowdeep.models.registry import build
from shallowdeep.progress import SilentBar
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.feature_reduction import ConvReduction, PooledReduction
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import ShallowDeepNetwork

NEAR = 1e-4


def converted(model: str, size: int) -> ShallowDeepNetwork:
    """A network of the zoo with two internal classifiers, in eval mode."""
    torch.manual_seed(0)
    backbone = build(model, num_classes=7, image_size=size)
    network = convert(backbone, torch.zeros(1, 3, size, size), fractions=(0.3, 0.7)).eval()
    network.preprocessing = Preprocessing(size, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return network


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("torchvision:mobilenet_v2", 64),  # maps
        ("resnet20", 32),  # maps that are read twice, by a convolution and a shortcut
        ("torchvision:swin_t", 64),  # (N, H, W, C)
        ("timm:convnext_atto", 64),  # both
        ("timm:deit_tiny_patch16_224", 224),  # tokens, a class token read by the first stage
    ],
)
def test_exported_networks_give_the_same_logits(model: str, size: int, tmp_path: Path) -> None:
    """Every exit's within 1e-4, at three batch sizes, and the static network's too."""
    network = converted(model, size)
    segments = plan_segments(Policy((0.5, None)), network.costs)
    names = export_segments(network, segments, tmp_path, SilentBar())
    runtime = OnnxRuntime([tmp_path / name for name in names], threads=1, pool=OWN_IDLE)
    static = session(tmp_path / export_static(network, tmp_path), threads=1, pool=OWN_IDLE)
    for count in (1, 2, 5):
        images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = network(images)
        x = runtime.accept(images)
        for number, segment in enumerate(segments):
            x, logits = runtime.run(number, x)
            assert (torch.from_numpy(logits) - expected[segment.exit]).abs().max() < NEAR
        (logits,) = static.run(None, {"x": images.numpy()})
        assert (torch.from_numpy(logits) - expected[-1]).abs().max() < NEAR


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_merged_head_is_the_classifier(*, channels_last: bool) -> None:
    """One matrix product on both pooled maps gives what mixing them first gives."""
    torch.manual_seed(1)
    classifier = InternalClassifier(PooledReduction(6, 8, 12, 4, channels_last=channels_last), 5).eval()
    x = torch.randn(3, 8, 12, 6) if channels_last else torch.randn(3, 6, 8, 12)
    head = inference_head(classifier)
    assert isinstance(head, PooledHead)
    with torch.no_grad():
        assert torch.allclose(head(x), classifier(x), atol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_merged_head_begins_with_the_convolutions(*, channels_last: bool) -> None:
    """Where the classifier does."""
    torch.manual_seed(1)
    reduction = ConvReduction(6, 32, 32, 4, (8, 8), channels_last=channels_last)
    classifier = InternalClassifier(reduction, 5).eval()
    x = torch.randn(3, 32, 32, 6) if channels_last else torch.randn(3, 6, 32, 32)
    head = inference_head(classifier)
    assert isinstance(head, PooledHead)
    with torch.no_grad():
        assert torch.allclose(head(x), classifier(x), atol=1e-6)


def test_heads_without_pooling_are_left_as_they_are() -> None:
    """There is nothing to merge."""
    classifier = InternalClassifier(PooledReduction(6, 2, 2, 4), 5)
    assert inference_head(classifier) is classifier


def test_maps_are_kept_in_blocks_where_a_shortcut_reads_them(tmp_path: Path) -> None:
    """A segment that begins with a residual block gets the pooling, one with a convolution alone does not."""
    for name, module, changed in (("shortcut", Shortcut(), True), ("plain", torch.nn.Conv2d(4, 4, 1), False)):
        torch.onnx.export(
            module.eval(), (torch.zeros(2, 4, 8, 8),), tmp_path / f"{name}.onnx", input_names=["x"], dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
        )  # fmt: skip
        x = torch.randn(3, 4, 8, 8)
        assert keep_maps_blocked(tmp_path / f"{name}.onnx") is changed
        (output,) = session(tmp_path / f"{name}.onnx", 1, OWN_IDLE).run(None, {"x": x.numpy()})
        with torch.no_grad():
            assert (torch.from_numpy(output) - module(x)).abs().max() < NEAR


class Shortcut(torch.nn.Module):
    """A convolution and what it is added to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X plus its convolution."""
        convolved: torch.Tensor = self.conv(x)
        return x + convolved


SESSIONS = """
import sys
import numpy as np
import onnxruntime
from pathlib import Path
from shallowdeep.inference.backends.onnx_runtime import POOLS, session

path = Path(sys.argv[1])
x = {"x": np.zeros((3, 3, 8, 8), np.float32)}
if sys.argv[2] == "theirs first":
    theirs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
ours = [session(path, 1, pool) for pool in POOLS]
outputs = [opened.run(None, x)[0] for opened in ours]
assert all(np.array_equal(output, outputs[0]) for output in outputs)
if sys.argv[2] == "theirs first":
    assert np.array_equal(theirs.run(None, x)[0], outputs[0])
print(outputs[0].shape)
"""


@pytest.mark.parametrize("order", ["theirs first", "ours alone"])
def test_pools_of_threads_get_along(order: str, tmp_path: Path) -> None:
    """Whoever opens a session first, and whichever pool is asked for: a session is had, in silence."""
    network = ShallowDeepNetwork.without_exits(torch.nn.Conv2d(3, 4, 3), 1)
    network.input_shape = (3, 8, 8)
    path = tmp_path / export_static(network, tmp_path)
    command = [sys.executable, "-c", SESSIONS, str(path), order]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(3, 4, 6, 6)\n", "")
