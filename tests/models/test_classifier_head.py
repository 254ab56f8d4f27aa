"""The last layer, replaced."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shallowdeep.errors import ModelError
from shallowdeep.models.classifier_head import replace_classifier


def test_last_linear_layer_is_replaced_and_others_stay() -> None:
    """Only the layer with one output per old class is new."""
    network = nn.Sequential(nn.Linear(4, 10), nn.Sequential(nn.ReLU(), nn.Linear(10, 10, bias=False)))
    first = network[0]
    replace_classifier(network, 10, 3)
    assert network[0] is first
    head = network.get_submodule("1.1")
    assert isinstance(head, nn.Linear)
    assert head.bias is None
    assert network(torch.zeros(2, 4)).shape == (2, 3)


def test_a_1x1_convolution_can_be_the_head() -> None:
    """Fully convolutional classifiers are known too."""
    network = nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    replace_classifier(network, 10, 3)
    assert network(torch.zeros(2, 3, 4, 4)).shape == (2, 3)


def test_the_same_number_of_classes_keeps_the_trained_head() -> None:
    """Nothing is thrown away without need."""
    network = nn.Sequential(nn.Linear(4, 10))
    head = network[0]
    replace_classifier(network, 10, 10)
    assert network[0] is head


def test_no_head_is_an_error() -> None:
    """A network without such a layer says what was looked for."""
    with pytest.raises(ModelError, match="last layer with 1000 outputs in Sequential"):
        replace_classifier(nn.Sequential(nn.Linear(4, 10)), 1000, 3)
