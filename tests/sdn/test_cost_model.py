"""What a head alone costs, read back from exits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shallowdeep.cost import count_macs
from shallowdeep.exits.costs import CostModel
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import Exit, cost_model


def test_by_hand() -> None:
    """1,000 MACs; heads of 10 at 300 and of 20 at 600."""
    exits = [Exit("a", "a", 0.3, 0.3, 310), Exit("b", "b", 0.6, 0.6, 630), Exit("final", "", 1.0, 1.0, 1030)]
    assert cost_model(exits, 1000) == CostModel((0.31, 0.63, 1.03), (0.01, 0.02))
    assert cost_model(exits[2:], 1000).heads == ()


def test_they_are_the_macs_of_the_heads() -> None:
    """Each is its internal classifier's own MACs, and the last exit costs 1 plus their sum."""
    layers: list[nn.Module] = []
    for channels in (3, 8, 8, 8):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    network = convert(backbone, torch.zeros(1, 3, 16, 16), fractions=(0.4, 0.7))
    found = network.costs.heads
    outputs, _ = network.eval().stage_outputs(torch.zeros(1, 3, 16, 16))
    heads = zip(network.internal_classifiers, outputs, strict=True)
    expected = [count_macs(head, output) / network.backbone_macs for head, output in heads]
    assert found == pytest.approx(expected)
    assert network.costs[-1] == pytest.approx(1 + sum(found))
