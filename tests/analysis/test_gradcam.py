"""Grad-CAM against hand-computed maps and against a slow one by autograd."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.analysis.gradcam import exit_maps, overlay
from shallowdeep.errors import ConfigurationError
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.feature_reduction import PooledReduction
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork


class Brightness(nn.Module):
    """One channel that is the image's brightness; class 0 likes it, class 1 does not."""

    def __init__(self) -> None:
        super().__init__()
        self.grey, self.head = nn.Conv2d(3, 1, 1, bias=False), nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.grey.weight.fill_(1 / 3)
            self.head.weight.copy_(torch.tensor([[2.0], [-2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2)."""
        output: Tensor = self.head(self.grey(x).mean((2, 3)))
        return output


def block(before: int, after: int) -> nn.Sequential:
    """Convolution, norm, in-place activation, dropout."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.Dropout(0.3)
    )


class Small(nn.Module):
    """Three blocks on 12x12 images, pooled to 6x6 after the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pool, self.second, self.third = block(3, 4), nn.MaxPool2d(2), block(4, 4), block(4, 4)
        self.head = nn.Linear(4, 5)

    def maps(self, x: Tensor) -> Tensor:
        """(N, 4, 6, 6)."""
        x = self.second(self.pool(self.first(x)))
        output: Tensor = self.third(x)
        return output

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        output: Tensor = self.head(self.maps(x).flatten(2).amax(2))
        return output


class ChannelsLast(nn.Module):
    """Patches that stay channels last, as in timm's Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = torch.tanh(self.first(self.patches(x).permute(0, 2, 3, 1)))
        output: Tensor = self.head(torch.tanh(self.second(x)).amax((1, 2)))
        return output


class Tokens(nn.Module):
    """Patches as a token sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        x = self.first(self.patches(x).flatten(2).transpose(1, 2))
        output: Tensor = self.head(self.second(torch.tanh(x)).mean(1))
        return output


def converted(backbone: nn.Module, size: int = 12, *, cascaded: bool = False) -> ShallowDeepNetwork:
    """With two internal classifiers, in eval mode, with norms that are not the identity."""
    torch.manual_seed(1)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]  # tracked, so a tensor
    return convert(backbone.eval(), torch.zeros(1, 3, size, size), fractions=(0.4, 0.7), cascaded=cascaded)


def slow_map(maps: Tensor, read: Callable[[Tensor], Tensor], class_: int, size: int) -> Tensor:
    """Grad-CAM of one image's maps (1, C, h, w), channel by channel."""
    maps = maps.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(read(maps)[0, class_], maps)
    heat = torch.zeros(maps.shape[2:])
    for channel in range(maps.shape[1]):
        heat += gradient[0, channel].mean() * maps[0, channel].detach()
    heat = F.interpolate(heat.clamp(min=0)[None, None], (size, size), mode="bilinear")[0, 0]
    return heat / heat.max() if heat.max() > 0 else heat


def test_map_is_hottest_at_the_bright_pixel() -> None:
    """The map of the class that likes brightness is the brightness over its maximum; the other's is all zero."""
    network = ShallowDeepNetwork.without_exits(Brightness(), 1)
    images = torch.full((2, 3, 4, 4), 0.25)
    images[:, :, 1, 2] = 1
    heat = exit_maps(network, images, 0, torch.tensor([0, 1]))
    expected = torch.full((4, 4), 0.25)
    expected[1, 2] = 1
    torch.testing.assert_close(heat[0], expected)
    assert torch.equal(heat[1], torch.zeros(4, 4))
    assert heat.dtype == torch.float32


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_equals_slow_grad_cam(exit_: int, frozen: bool) -> None:
    """At internal classifiers of what they read, at the final exit of the backbone's last map."""
    backbone = Small()
    network = converted(backbone)
    if frozen:
        network.freeze_backbone()
    images, classes = torch.randn(6, 3, 12, 12), torch.tensor([0, 1, 2, 3, 4, 0])
    heat = exit_maps(network, images, exit_, classes)
    found = 0
    for n in range(6):
        image = images[n : n + 1]
        if exit_ == 2:
            maps, read = backbone.maps(image), lambda a: backbone.head(a.flatten(2).amax(2))
        else:
            maps, read = network.internal_outputs(image)[exit_], network.internal_classifiers[exit_]
        expected = slow_map(maps, read, int(classes[n]), 12)
        torch.testing.assert_close(heat[n], expected)
        found += bool(expected.max() > 0)
    assert found >= 2  # the images are such that there is something to compare


def test_cascades_do_not_matter() -> None:
    """What an exit reads of the one before comes from no part of its own map."""
    network = converted(Small(), cascaded=True)
    images, classes = torch.randn(4, 3, 12, 12), torch.tensor([0, 1, 2, 3])
    before = exit_maps(network, images, 1, classes)
    assert before.max() > 0
    with torch.no_grad():
        network.get_parameter("internal_classifiers.1.cascade.weight").mul_(7)
    assert torch.equal(exit_maps(network, images, 1, classes), before)


@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_channels_last_maps(exit_: int) -> None:
    """Internal classifiers read them permuted; the final exit is seen from the last internal classifier's map."""
    network = converted(ChannelsLast())
    images, classes = torch.randn(6, 3, 12, 12), torch.tensor([0, 1, 2, 3, 4, 0])
    heat = exit_maps(network, images, exit_, classes)
    found = 0
    for n in range(6):
        maps = network.internal_outputs(images[n : n + 1])[min(exit_, 1)].permute(0, 3, 1, 2)

        def read(a: Tensor) -> Tensor:
            a = a.permute(0, 2, 3, 1)
            output: Tensor = (
                network.stages[-1](network.backbone, a) if exit_ == 2 else network.internal_classifiers[exit_](a)
            )
            return output

        expected = slow_map(maps, read, int(classes[n]), 12)
        torch.testing.assert_close(heat[n], expected)
        found += bool(expected.max() > 0)
    assert found >= 2


@pytest.mark.parametrize("frozen", [False, True])
def test_network_is_left_as_it_was(frozen: bool) -> None:
    """Modes, flags, gradients, hooks, buffers and outputs stay, in train mode too."""
    network = converted(Small()).train()
    network.backbone.pool.eval()  # type: ignore[union-attr]  # a module in a mode of its own
    if frozen:
        network.freeze_backbone()
    images = torch.randn(4, 3, 12, 12)

    def state() -> list[object]:
        flags = [(p.requires_grad, p.grad) for p in network.parameters()]
        modes = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()]
        return [flags, modes, images.requires_grad]

    weights, before = {k: v.clone() for k, v in network.state_dict().items()}, state()
    copy = images.clone()
    for exit_ in range(3):
        assert not exit_maps(network, images, exit_, torch.zeros(4, dtype=torch.int64)).requires_grad
    assert state() == before
    assert torch.equal(images, copy)
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())


def test_dropout_and_batches_do_not_matter() -> None:
    """In train mode the maps are those of eval mode, image by image; under ``no_grad`` too."""
    network = converted(Small())
    images, classes = torch.randn(3, 3, 12, 12), torch.tensor([0, 1, 2])
    for exit_ in range(3):
        expected = exit_maps(network.eval(), images, exit_, classes)
        with torch.no_grad():
            heat = exit_maps(network.train(), images, exit_, classes)
        torch.testing.assert_close(heat, expected)
        torch.testing.assert_close(exit_maps(network, images[1:2], exit_, classes[1:2]), expected[1:2])


class Part:
    """A stage that is a function of the backbone and one tensor."""

    beside: tuple[str, ...] = ()

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self._function = function

    def __call__(self, backbone: nn.Module, x: Tensor, inputs: object = None) -> Tensor:
        """What the function returns."""
        del inputs
        result: Tensor = self._function(backbone, x)
        return result


def test_a_stage_that_changes_its_input_in_place() -> None:
    """The map of an internal classifier is what it read, not what the next stage made of that."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 5))
    classifier = InternalClassifier(PooledReduction(4, 6, 6, 4), 5)
    stages = [Part(lambda whole, x: whole[0](x)), Part(lambda whole, x: whole[1:](x))]
    exits = [Exit("0", "_0", 0.5, 0.5, 1), Exit("final", "", 1.0, 1.0, 2)]
    network = ShallowDeepNetwork(backbone, stages, [classifier], exits, 2)
    image = torch.randn(1, 3, 8, 8)
    expected = slow_map(backbone[0](image), classifier, 0, 8)
    assert expected.max() > 0
    torch.testing.assert_close(exit_maps(network, image, 0, torch.tensor([0]))[0], expected)


class Reused(nn.Module):
    """One activation after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 5)

    def maps(self, x: Tensor) -> Tensor:
        """(N, 4, 8, 8)."""
        output: Tensor = self.relu(self.second(self.relu(self.first(x))))
        return output

    def read(self, x: Tensor) -> Tensor:
        """Logits (N, 5) from the maps."""
        output: Tensor = self.head((x * x).mean((2, 3)))
        return output

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5)."""
        return self.read(self.maps(x))


def test_a_module_that_is_used_twice() -> None:
    """It stands where it was used last."""
    torch.manual_seed(0)
    backbone, images = Reused(), torch.randn(5, 3, 12, 12)
    heat = exit_maps(ShallowDeepNetwork.without_exits(backbone, 1), images, 0, torch.arange(5))
    expected = [slow_map(backbone.maps(images[n : n + 1]), backbone.read, n, 12) for n in range(5)]
    torch.testing.assert_close(heat, torch.stack(expected))
    assert heat.amax((1, 2)).sum() >= 2


def test_the_last_internal_classifier_may_read_the_deepest_map() -> None:
    """Where no module comes between it and the head, the final exit is seen from what it reads."""
    torch.manual_seed(0)
    backbone, classifier = Reused(), InternalClassifier(PooledReduction(4, 8, 8, 4), 5)
    stages = [Part(lambda whole, x: 1 - whole.maps(x)), Part(lambda whole, x: whole.read(x))]
    exits = [Exit("relu", "sub", 0.5, 0.5, 1), Exit("final", "", 1.0, 1.0, 2)]
    network, images = ShallowDeepNetwork(backbone, stages, [classifier], exits, 2), torch.randn(5, 3, 12, 12)
    heat = exit_maps(network, images, 1, torch.arange(5))
    expected = [slow_map(1 - backbone.maps(images[n : n + 1]), backbone.read, n, 12) for n in range(5)]
    torch.testing.assert_close(heat, torch.stack(expected))
    assert heat.amax((1, 2)).sum() >= 2


@pytest.mark.parametrize("exit_", [0, 2])
def test_tokens_are_refused_before_any_work(exit_: int) -> None:
    """A token network is named in one line; what is asked of it is not even looked at."""
    with pytest.raises(
        ConfigurationError, match=r"^Expected a convolutional network for Grad-CAM, got tokens at [^\n]*$"
    ):
        exit_maps(converted(Tokens()), torch.zeros(1), exit_, torch.zeros(1))


def test_tokens_without_internal_classifiers_are_refused() -> None:
    """The map of the patches is not taken for the last map."""
    network = ShallowDeepNetwork.without_exits(Tokens(), 1)
    with pytest.raises(
        ConfigurationError, match=r"convolutional network for Grad-CAM, got outputs of shape \(1, 36, 6"
    ):
        exit_maps(network, torch.zeros(1, 3, 12, 12), 0, torch.tensor([0]))


def test_vectors_and_single_positions_are_refused() -> None:
    """Where there is no place, no map is made up; the final exit still has the map before the vectors."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 400, 1), nn.Flatten(), nn.Linear(400, 40),
        nn.ReLU(), nn.Linear(40, 5),
    ).eval()  # fmt: skip
    image, class_ = torch.randn(1, 3, 6, 6), torch.tensor([0])
    single = convert(backbone, image, at=["_2"])
    with pytest.raises(ConfigurationError, match="got a map of a single position at 2"):
        exit_maps(single, image, 0, class_)
    vectors = convert(backbone, image, at=["_4"])
    with pytest.raises(ConfigurationError, match="got vectors at 4 of Sequential"):
        exit_maps(vectors, image, 0, class_)
    expected = slow_map(backbone[:2](image), backbone[2:], 0, 6)
    for network in (single, vectors):
        torch.testing.assert_close(exit_maps(network, image, 1, class_)[0], expected)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(108, 5))
    with pytest.raises(ConfigurationError, match="got vectors before the head of Sequential"):
        exit_maps(ShallowDeepNetwork.without_exits(flat, 1), image, 0, class_)


def test_no_such_exit() -> None:
    """Exits are counted from 0."""
    with pytest.raises(ConfigurationError, match=r"Expected exit in \[0, 3\), got 3"):
        exit_maps(converted(Small()), torch.zeros(1, 3, 12, 12), 3, torch.tensor([0]))


def test_no_images() -> None:
    """No image, no map."""
    empty = exit_maps(converted(Small()), torch.zeros(0, 3, 12, 12), 0, torch.zeros(0, dtype=torch.int64))
    assert empty.shape == (0, 12, 12)


def test_captum_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, the error says which extra brings it."""
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigurationError, match=r"Expected captum for .*; pip install 'shallowdeep\[report\]'$"):
        exit_maps(converted(Small()), torch.zeros(1, 3, 12, 12), 0, torch.tensor([0]))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "torchvision:mobilenet_v2"])
def test_known_networks(name: str) -> None:
    """Frozen networks with in-place activations have maps at every exit, which light up for some class."""
    torch.manual_seed(0)
    size = 64 if name.startswith("torchvision:") else 32
    network = convert(build(name, num_classes=10, image_size=size), torch.zeros(1, 3, size, size)).freeze_backbone()
    images = torch.randn(1, 3, size, size).repeat(10, 1, 1, 1)
    for exit_ in range(len(network.exits)):
        heat = exit_maps(network, images, exit_, torch.arange(10))
        assert heat.shape == (10, size, size)
        assert heat.min() >= 0
        assert set(heat.amax((1, 2)).round(decimals=5).tolist()) <= {0.0, 1.0}
        assert heat.max() > 0.99


def test_overlay_by_hand() -> None:
    """Cold leaves the image, hot is three quarters viridis' yellow (253, 231, 37)."""
    image = np.full((2, 2, 3), 100, dtype=np.uint8)
    heat = np.array([[0.0, 1.0], [0.0, 0.0]])
    mixed = overlay(image, heat)
    assert mixed.dtype == np.uint8
    assert mixed[0, 1].tolist() == [215, 198, 53]
    mixed[0, 1] = 100
    assert np.array_equal(mixed, image)
