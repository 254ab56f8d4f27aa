"""Quantisation leaves layers in floating point that would cost accuracy, judged on images of ``tune``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shallowdeep.inference.onnx_export import export_module
from shallowdeep.inference.precision import Judged

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")


class OneHugeChannel(nn.Module):
    """An activation with a channel 3,000 times as large as the others: one scale for all leaves these nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)
        with torch.no_grad():
            self.first.weight[0] *= 3000
            self.second.weight[:, 0] *= 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        logits: Tensor = self.last(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))
        return logits


def test_layers_that_lose_accuracy_stay_in_floating_point(tmp_path: Path) -> None:
    """Where they are judged; else all are quantised, whatever it costs."""
    from shallowdeep.inference.openvino_core import core  # noqa: PLC0415 - needs openvino
    from shallowdeep.inference.quantisation import MOST_LOST, accuracy, quantised  # noqa: PLC0415 - needs openvino

    torch.manual_seed(0)
    network = OneHugeChannel().eval()
    generator = np.random.default_rng(0)
    means = 2 * generator.normal(size=(256, 3, 1, 1))
    images = (generator.normal(size=(256, 3, 8, 8)) + means).astype(np.float32)
    with torch.no_grad():
        labels = network(torch.from_numpy(images)).argmax(1).numpy()
    export_module(network, {"x": torch.from_numpy(images[:2])}, tmp_path / "n.onnx", ["logits"])
    graph, judged = core().read_model(tmp_path / "n.onnx"), Judged(images, labels)
    assert accuracy(graph, judged) == 1
    assert accuracy(quantised(graph, images[:64]), judged) < 0.9
    careful = quantised(graph, images[:64], judged)
    assert accuracy(careful, judged) >= 1 - MOST_LOST
    assert any(node.get_type_name() == "FakeQuantize" for node in careful.get_ops())
