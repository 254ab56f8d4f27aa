"""Logits among other outputs, in eval and in train mode, converted and exported."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.logits import logits_of

EXAMPLE = torch.zeros(1, 3, 16, 16)
Outputs = namedtuple("Outputs", ["aux", "logits"])


@dataclass
class Answer:
    """As transformers returns it."""

    logits: Tensor
    hidden: Tensor | None = None


class Several(nn.Module):
    """Returns more than logits.

    Args:
        kind: of what is returned.
        in_training: return it in train mode alone, logits otherwise.
    """

    def __init__(self, kind: str, *, in_training: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs in (3, 8, 8, 8):
            layers += [nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
        self.first, self.second = nn.Sequential(*layers[:6]), nn.Sequential(*layers[6:])
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        self.kind, self.in_training = kind, in_training

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401 - many kinds
        """Logits and more."""
        x = self.first(x)
        aux = self.aux(x) if self.training or not self.in_training else x
        logits = self.head(self.second(x))
        if self.in_training and not self.training:
            return logits
        kinds: dict[str, Any] = {
            "tuple": lambda: (logits, aux),
            "list": lambda: [logits, aux],
            "dict": lambda: {"aux": aux, "logits": logits},
            "out": lambda: OrderedDict(out=logits, aux=aux),
            "named": lambda: Outputs(aux, logits),
            "object": lambda: Answer(logits=logits, hidden=aux),
        }
        return kinds[self.kind]()


@pytest.mark.parametrize("in_training", [False, True])
@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "out", "named", "object"])
def test_logits_are_found(kind: str, *, in_training: bool) -> None:
    """The final exit is theirs, bit for bit, and in train mode what else is computed does no harm."""
    backbone = Several(kind, in_training=in_training)
    network = convert(backbone, EXAMPLE)
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval()(x)[-1], logits_of(backbone.eval()(x)))
    twin = Several(kind, in_training=in_training)
    twin.load_state_dict(backbone.state_dict())
    torch.manual_seed(1)
    got = network.train()(x)[-1]
    torch.manual_seed(1)
    assert torch.equal(got, logits_of(twin.train()(x)))
    got.sum().backward()
    assert type(network.to_backbone()) is Several


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", ["dict", "named"])
def test_bundles_hold_the_logits(kind: str, backend: str, tmp_path: Path) -> None:
    """The static network's too: what is written is run."""
    network = convert(Several(kind).eval(), EXAMPLE)
    count = len(network.exits)
    bundle = write_bundle(network.eval(), shared_threshold(NEVER, count), tmp_path / "b", backend)
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = logits_of(network.backbone(x)).argmax(dim=1)
    assert EarlyExitEngine(bundle, threads=1)(x.numpy()).labels.tolist() == expected.tolist()


def test_auxiliary_heads_of_googlenet() -> None:
    """Torchvision's GoogLeNet trains with two more heads; converted, it does without them."""
    torchvision = pytest.importorskip("torchvision")
    backbone = torchvision.models.googlenet(num_classes=5, aux_logits=True, init_weights=False)
    network = convert(backbone, torch.zeros(1, 3, 64, 64))
    assert len(network.exits) > 1
    assert any(name.startswith("backbone.aux1") for name in network.state_dict())
    assert build("torchvision:googlenet", num_classes=5, image_size=64).aux1 is None
