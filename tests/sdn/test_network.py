"""All exits from one pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.recorder import Recorder
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from shallowdeep.exits.costs import CostModel
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits


def block(channels: int) -> nn.Sequential:
    """Convolution, norm, activation, dropout."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.3)
    )


class Small(nn.Module):
    """Three blocks and a head on 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(block(3), block(4), block(4))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        output: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return output


def small() -> ShallowDeepNetwork:
    """A tiny network with two internal classifiers."""
    torch.manual_seed(0)
    return convert(Small(), torch.zeros(1, 3, 8, 8), fractions=(0.3, 0.6))


def test_forward_is_stages_and_classifiers_in_turn() -> None:
    """Row k of (E, N, C) is classifier k on the output of the stages so far; the last is the backbone's."""
    network = small().eval()
    images = torch.randn(2, 3, 8, 8)
    outputs, final = network.stage_outputs(images)
    logits = network(images)
    assert logits.shape == (3, 2, 5)
    for row, classifier, x in zip(logits, network.internal_classifiers, outputs, strict=False):
        assert torch.equal(row, classifier(x))
    assert torch.equal(logits[-1], final)
    assert torch.equal(final, network.backbone(images))
    assert torch.equal(outputs[0], network.backbone.blocks[0](images))  # type: ignore[index, operator]  # a Sequential


def test_state_dict_has_the_backbones_names() -> None:
    """The backbone's weights stand under ``backbone.``, the classifiers' under ``internal_classifiers.``."""
    network = small()
    names = [name.removeprefix("backbone.") for name in network.state_dict() if name.startswith("backbone.")]
    assert names == list(Small().state_dict())
    others = {name.split(".")[0] for name in network.state_dict()} - {"backbone"}
    assert others == {"internal_classifiers"}


def test_to_backbone_is_a_copy() -> None:
    """It has the original class and names, and does not share memory with the network."""
    network = small()
    back = network.to_backbone()
    assert type(back) is Small
    assert all(a.data_ptr() != b.data_ptr() for a, b in zip(back.parameters(), network.parameters(), strict=False))
    Small().load_state_dict(back.state_dict())


def test_without_exits() -> None:
    """An untraced network has one exit of cost 1."""
    backbone = Small().eval()
    network = ShallowDeepNetwork.without_exits(backbone, 100)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(images), backbone(images)[None])
    assert network.costs == CostModel((1.0,))
    assert network.stage_outputs(images)[0] == []


def test_frozen_backbone_does_not_move() -> None:
    """After training steps of the classifiers in train mode, statistics, weights and final logits are bit-identical."""
    network = small()
    network.freeze_backbone().train()
    assert network.training
    assert not any(module.training for module in network.backbone.modules())
    assert all(module.training for module in network.internal_classifiers.modules())
    images, labels = torch.randn(8, 3, 8, 8), torch.randint(5, (8,))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before = network(images)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.stack([F.cross_entropy(logits, labels) for logits in network(images)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    after = network.train()(images)
    assert torch.equal(after[-1], before[-1])
    assert not torch.equal(after[0], before[0])
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]) == name.startswith("backbone.")


def resnet20() -> ShallowDeepNetwork:
    """The quick-trial network, converted."""
    return convert(build("resnet20", num_classes=10, image_size=32), torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("make", "size"), [(small, 8), (resnet20, 32)])
def test_distributed_data_parallel(make: object, size: int, tmp_path: Path) -> None:
    """Wrapped in DDP the network gives the same logits, and every parameter gets the same gradient."""
    network = make()  # type: ignore[operator]  # a function without arguments
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(network)
        images = torch.randn(4, 3, size, size)
        torch.manual_seed(0)
        expected = network(images)
        expected.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in network.parameters()]
        network.zero_grad()
        torch.manual_seed(0)
        logits = wrapped(images)
        logits.square().sum().backward()
        assert torch.equal(logits, expected)
        for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
            assert parameter.grad is not None, name
            torch.testing.assert_close(parameter.grad, gradient)
    finally:
        distributed.destroy_process_group()


def test_channels_last_memory_changes_nothing_but_speed() -> None:
    """Images and weights in channels_last memory give the same logits up to rounding."""
    network = small().eval()
    images = torch.randn(2, 3, 8, 8)
    expected = network(images)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(images.to(memory_format=torch.channels_last)), expected)


def test_predictions_are_the_networks_in_order() -> None:
    """One pass over batches gives logits, labels and costs, in eval mode, and leaves the mode alone."""
    network = small().train()
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5)
    seen = Recorder()
    predictions = predict_exits(network, [(images[:3], labels[:3]), (images[3:], labels[3:])], progress=seen)
    assert network.training
    with torch.no_grad():
        expected = network.eval()(images)
    torch.testing.assert_close(torch.from_numpy(predictions.logits), expected)
    assert predictions.labels.tolist() == [0, 1, 2, 3, 4]
    assert predictions.costs == network.costs
    assert [bar.steps for bar in seen.bars] == [[3, 2]]
