"""From names to networks."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from shallowdeep.errors import ConfigurationError, ModelError, UnknownNameError
from shallowdeep.models.published_input import PublishedInput, crop_share_of
from shallowdeep.models.registry import (
    build,
    describe_models,
    is_trusted,
    model_names,
    published_input,
    resolve,
)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

OWN_MODULE = """
from torch import nn

def small(num_classes):
    return nn.Linear(4, num_classes)

def sized(num_classes, image_size):
    return nn.Linear(image_size, num_classes)
sized.image_size = 48

def fixed():
    return nn.Linear(4, 2)
fixed.image_size = (24, 28)

def anything(**settings):
    return nn.Linear(4, settings["num_classes"])

class Net(nn.Linear):
    def __init__(self, num_classes=3):
        super().__init__(4, num_classes)

def wrong(num_classes):
    return "a network"

def broken(num_classes):
    raise ValueError("two\\nlines")

def missized(num_classes):
    return nn.Linear(4, 2)
missized.image_size = "32"

instance = nn.Linear(4, 2)
number = 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the name of a module in the working directory."""
    (tmp_path / "own_networks.py").write_text(OWN_MODULE)
    (tmp_path / "own_broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    return "own_networks"


def test_names_are_the_papers_and_the_small_ones() -> None:
    """The names are a contract with the command line."""
    assert model_names() == ("vgg16", "resnet56", "wideresnet32_4", "mobilenet", "resnet20", "fastnet")


def test_own_networks_are_made_for_both_sizes_of_the_paper() -> None:
    """The data package picks the nearer of the two."""
    for name in model_names():
        spec = resolve(name)
        assert (spec.name, spec.image_sizes, spec.trusted) == (name, (32, 64), True)


def test_describe_models_counts_parameters_and_lists_namespaces() -> None:
    """One row a network with its parameters at 10 classes, and one a namespace."""
    rows = {row.name: row for row in describe_models()}
    assert tuple(rows) == (*model_names(), "torchvision:NAME", "timm:NAME", "hf:NAME_OR_DIR", "package.module:callable")
    assert rows["resnet56"].parameters == 855_770
    assert rows["timm:NAME"].parameters is None


def test_unknown_name_tells_the_nearest_and_the_namespaces() -> None:
    """One line is enough to mend a slip."""
    with pytest.raises(UnknownNameError, match=r"got 'resnet65'; nearest: resnet56.*torchvision:NAME"):
        resolve("resnet65")


@pytest.mark.parametrize(
    ("name", "near"), [("torchvision:resnet81", "torchvision:resnet18"), ("timm:resnt18", "timm:resnet18")]
)
def test_unknown_names_in_a_namespace_tell_the_nearest_there(name: str, near: str) -> None:
    """Nearest names are searched among torchvision's and timm's own."""
    with pytest.raises(UnknownNameError, match=near):
        build(name, num_classes=10, image_size=32)


@pytest.mark.parametrize(
    ("classes", "size", "message"),
    [(1, 32, "num_classes >= 2, got 1"), (10, 0, "1 pixel, such as 224 or 96x160, got 0")],
)
def test_settings_out_of_range_are_refused(classes: int, size: int, message: str) -> None:
    """Numbers that no network can have are told at once."""
    with pytest.raises(ConfigurationError, match=message):
        build("resnet20", num_classes=classes, image_size=size)


def test_only_callables_are_untrusted() -> None:
    """The question is answered from the name alone, without an import."""
    trusted = {name: is_trusted(name) for name in ("resnet56", "torchvision:vgg11", "timm:any", "no.such:thing")}
    assert trusted == {"resnet56": True, "torchvision:vgg11": True, "timm:any": True, "no.such:thing": False}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("torchvision:resnet18", (224,)),
        ("torchvision:inception_v3", (299,)),
        ("timm:resnet18", (224,)),
        ("timm:resnetv2_50x1_bit.goog_in21k_ft_in1k", (448,)),
    ],
)
def test_namespaced_networks_are_made_for_their_published_size(name: str, sizes: tuple[int, ...]) -> None:
    """The size comes from the published weights' description."""
    assert resolve(name).image_sizes == sizes


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision:squeezenet1_1", 64),
        ("torchvision:vit_b_32", 64),
        ("torchvision:googlenet", 64),
        ("timm:test_vit", 64),
        ("timm:test_resnet", 64),
    ],
)
def test_namespaced_networks_are_built_for_classes_and_size(name: str, size: int) -> None:
    """Logits are (N, C) in training mode too, and position embeddings fit the size."""
    network = build(name, num_classes=7, image_size=size)
    assert network.training
    assert network(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_a_size_that_the_builder_refuses_is_one_line() -> None:
    """What goes wrong inside the zoo names the network."""
    with pytest.raises(ModelError, match="vit_b_32") as caught:
        build("torchvision:vit_b_32", num_classes=7, image_size=50)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_a_missing_extra_names_the_command_that_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchvision or timm only their names fail."""
    for module in ("torchvision.models", "timm"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=r"pip install shallowdeep\[zoo\]"):
        resolve(name)
    assert build("resnet20", num_classes=2, image_size=32).training


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision:resnet18", PublishedInput(*IMAGENET, "bilinear", "crop", 0.875, 224)),
        ("torchvision:efficientnet_b1", PublishedInput(*IMAGENET, "bilinear", "crop", crop_share_of(240, 255), 240)),
        ("timm:vit_tiny_patch16_224", PublishedInput((0.5,) * 3, (0.5,) * 3, "bicubic", "crop", 0.9, 224)),
        ("timm:resnet18", PublishedInput(*IMAGENET, "bicubic", "crop", 0.95, 224)),
        ("timm:resnetaa34d", PublishedInput(*IMAGENET, "bicubic", "crop", 0.875, 224)),  # without weights
        ("timm:beit_base_patch16_384", PublishedInput((0.5,) * 3, (0.5,) * 3, "bicubic", "crop", 1.0, 384)),
        ("resnet56", None),
        ("own.module:callable", None),
    ],
)
def test_the_published_input_is_that_of_the_library(name: str, expected: PublishedInput | None) -> None:
    """Its evaluation transform, or None for a network that no library knows."""
    assert published_input(name) == expected


def test_a_crop_share_gives_the_resized_side_back() -> None:
    """Whatever the rounding of the quotient."""
    for cropped in range(1, 300, 7):
        for resized in range(cropped, cropped + 120):
            assert math.floor(cropped / crop_share_of(cropped, resized)) == resized
    with pytest.raises(ConfigurationError, match="at most the resized 224 pixels, got 256"):
        crop_share_of(256, 224)


@pytest.mark.parametrize("name", ["resnet56", "own.module:callable"])
def test_networks_without_published_weights_refuse_pretrained(name: str) -> None:
    """Only the two zoos publish weights, and a callable is not even imported to find out."""
    with pytest.raises(ConfigurationError, match="pretrained weights"):
        build(name, num_classes=10, image_size=32, pretrained=True)


def test_pretrained_torchvision_network_keeps_its_body_and_gets_a_new_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights arrive everywhere but in the last layer."""
    models = importlib.import_module("torchvision.models")
    published = models.squeezenet1_1().state_dict()
    weights_type = type(models.get_model_weights("squeezenet1_1").DEFAULT)

    def fetch(*_: object, **__: object) -> Any:  # noqa: ANN401 - stands in for an untyped method
        return published

    monkeypatch.setattr(weights_type, "get_state_dict", fetch)
    network = build("torchvision:squeezenet1_1", num_classes=5, image_size=64, pretrained=True)
    loaded = network.state_dict()
    changed = [name for name, tensor in published.items() if not torch.equal(loaded[name], tensor)]
    assert changed == ["classifier.1.weight", "classifier.1.bias"]
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize("zoo", ["torchvision", "timm"])
def test_weights_that_cannot_be_fetched_are_one_line(zoo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network connection the message names the model."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route\nto host")

    module, function = ("torchvision.models", "get_model") if zoo == "torchvision" else ("timm", "create_model")
    monkeypatch.setattr(importlib.import_module(module), function, unreachable)
    with pytest.raises(ModelError, match=f"{zoo}:resnet18.*URLError") as caught:
        build(f"{zoo}:resnet18", num_classes=10, image_size=224, pretrained=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("callable_name", "sizes", "shape"),
    [
        ("small", (32, 64), (5, 4)),
        ("sized", (48,), (5, 48)),
        ("fixed", (24, 28), (2, 4)),
        ("anything", (32, 64), (5, 4)),
        ("Net", (32, 64), (5, 4)),
    ],
)
def test_callables_get_what_their_signature_takes(
    own_module: str, callable_name: str, sizes: tuple[int, ...], shape: tuple[int, int]
) -> None:
    """`num_classes` and `image_size` are given by name, and only where they are taken."""
    spec = resolve(f"{own_module}:{callable_name}")
    assert (spec.image_sizes, spec.trusted) == (sizes, False)
    network = build(f"{own_module}:{callable_name}", num_classes=5, image_size=sizes[0])
    assert isinstance(network, nn.Linear)
    assert network.weight.shape == shape


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_networks:absent", "nothing of that name"),
        ("own_networks:number", "an object of int"),
        ("own_networks:instance", "an object of Linear"),
        ("own_networks:wrong", "to return a torch.nn.Module, got str"),
        ("own_networks:broken", "ValueError: two"),
        ("own_networks:missized", "image_size to be a number of pixels"),
        ("own_networks:", "Expected package.module:callable"),
        (":small", "Expected package.module:callable"),
        ("own_absent:small", "got 'own_absent': ModuleNotFoundError"),
        ("own_broken:small", "nothing_of_this_name"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_callables_that_do_not_build_a_network_are_one_line(name: str, message: str) -> None:
    """Every way to get it wrong is told with the name."""
    with pytest.raises(ModelError, match=message) as caught:
        build(name, num_classes=5, image_size=32)
    assert "\n" not in str(caught.value)


def test_resolving_a_callable_leaves_the_import_path_as_it_was(own_module: str) -> None:
    """The working directory is on the path only while importing and building."""
    before = list(sys.path)
    build(f"{own_module}:small", num_classes=5, image_size=32)
    assert sys.path == before
