"""Networks in wrappers, with computed weights, with modules made on the way, with state that is no tensor."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm as parametrized_spectral_norm
from torch.nn.utils.parametrizations import weight_norm as parametrized_weight_norm

from shallowdeep.api import fit
from shallowdeep.checkpoint import load
from shallowdeep.errors import ConfigurationError, ConversionError, DataError
from shallowdeep.sdn.convert import candidates, convert
from shallowdeep.sdn.network import ShallowDeepNetwork

EXAMPLE = torch.zeros(1, 3, 16, 16)


def layers() -> list[nn.Module]:
    """Four convolutions."""
    made: list[nn.Module] = []
    for inputs in (3, 8, 8, 8):
        made += [nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return made


def plain() -> nn.Sequential:
    """Four convolutions and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(*layers(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def equal(network: ShallowDeepNetwork, backbone: nn.Module) -> None:
    """Check that the final exit is the backbone, in eval mode, on images of several sizes of batch."""
    network.eval()
    for count in (1, 3):
        x = torch.randn(count, 3, 16, 16)
        with torch.no_grad():
            assert torch.equal(network(x)[-1], backbone.eval()(x))


def test_wrappers_are_taken_off() -> None:
    """What compiles or distributes a network is none; the network inside is taken over, and given back."""
    backbone = plain()
    parallel = nn.DataParallel(backbone)
    wrappers: list[Any] = [torch.compile(backbone), parallel, torch.compile(parallel)]
    for wrapped in wrappers:
        network = convert(wrapped, EXAMPLE)
        assert network.backbone is backbone
        assert type(network.to_backbone()) is nn.Sequential
        assert candidates(wrapped, EXAMPLE)
    equal(network, backbone)


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
def test_a_compiled_part_is_run_whole() -> None:
    """Its parameters keep their names."""
    backbone: Any = plain()
    backbone[3] = torch.compile(backbone[3], backend="eager")
    network = convert(backbone, EXAMPLE)
    assert "backbone.3._orig_mod.weight" in network.state_dict()
    equal(network, backbone)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_graphs_without_a_train_mode_are_refused() -> None:
    """In one line that says what to convert instead."""
    program = torch.export.export(plain().eval(), (torch.zeros(2, 3, 16, 16),))
    with pytest.raises(ConversionError, match="got ExportedProgram: convert the module that was exported"):
        convert(program, EXAMPLE)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match=r"of torch\.export, which has one alone: convert the module"):
        convert(program.module(), EXAMPLE)
    with pytest.raises(ConversionError, match=r"as it was before torch\.jit"):
        convert(torch.jit.trace(plain().eval(), EXAMPLE), EXAMPLE)  # type: ignore[no-untyped-call]  # torch has no type for it


class Written(nn.Module):
    """A view of a map, and modules that are made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers(), nn.MaxPool2d(4))
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = nn.ReLU()(self.features(nn.Identity()(x)))
        x = nn.Sequential(nn.Tanh(), nn.Dropout(0.0))(x)
        logits: Tensor = self.head(x.view(x.size(0), -1))
        return logits


def test_maps_laid_out_channels_last_can_be_viewed() -> None:
    """The same values in both layouts, in eval and in train mode; whole networks fall back to the other layout."""
    backbone = Written()
    network = convert(backbone, EXAMPLE)
    equal(network, backbone)
    x = torch.randn(3, 3, 16, 16)
    expected = network.eval()(x)
    network.channels_last()
    assert not network.contiguous
    assert torch.allclose(network(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-6)
    whole = ShallowDeepNetwork.without_exits(Written(), 1)
    whole.input_shape = (3, 16, 16)
    whole.channels_last()
    assert whole.contiguous
    whole(x.contiguous(memory_format=torch.channels_last)).sum().backward()


def test_a_layer_with_weights_made_on_the_way_is_told() -> None:
    """Its weights would be new at every call."""

    class Renewed(Written):
        def forward(self, x: Tensor) -> Tensor:
            """Logits."""
            return super().forward(nn.Conv2d(3, 3, 1)(x))

    with pytest.raises(ConversionError, match="Renewed"):
        convert(Renewed(), EXAMPLE)


def normed(kind: str) -> nn.Sequential:
    """The second convolution's weight is computed from others."""
    backbone = plain()
    second: Any = backbone[3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older functions are deprecated, and in use
        wrap: Any = {
            "weight": torch.nn.utils.weight_norm, "spectral": torch.nn.utils.spectral_norm,
            "new weight": parametrized_weight_norm, "new spectral": parametrized_spectral_norm,
        }[kind]  # fmt: skip
        backbone[3] = wrap(second)
    return backbone


@pytest.mark.parametrize("kind", ["weight", "spectral", "new weight", "new spectral"])
def test_computed_weights_are_copied(kind: str) -> None:
    """After a training step, when autograd made them; the copy trains on by itself."""
    network = convert(normed(kind), EXAMPLE)
    x = torch.randn(4, 3, 16, 16)
    network.train()(x).sum().backward()
    for copy_ in (network.to_backbone(), copy.deepcopy(network).backbone):
        network.eval(), copy_.eval()
        with torch.no_grad():
            assert torch.equal(copy_(x), network(x)[-1])
        copy_.train()(x).sum().backward()
    names = [name for name, _ in copy_.named_parameters()]
    assert names == [name for name, _ in network.backbone.named_parameters()]


class Counting(nn.Module):
    """Counts the batches it saw, in no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {"batches": 0}

    def forward(self, x: Tensor) -> Tensor:
        """The images."""
        return F.relu(x)

    def get_extra_state(self) -> dict[str, Any]:
        """What is saved."""
        return self.seen

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """What was saved."""
        self.seen = state


def counting(seen: object) -> Any:  # noqa: ANN401 - its modules have attributes of their own
    """A network with such a module."""
    backbone: Any = plain()
    backbone[5] = Counting()
    backbone[5].seen = {"batches": seen}
    return backbone


def test_extra_state_is_saved(tmp_path: Path) -> None:
    """In JSON, with the network and in the middle of a training; what JSON cannot hold is refused by name."""
    network = convert(counting(7), EXAMPLE)
    network.save(tmp_path / "net")
    again = load(tmp_path / "net", backbone=counting(0))
    assert again.backbone.get_submodule("5").get_extra_state() == {"batches": 7}
    batches = [(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]))] * 2
    fit(network, batches, recipe="joint", epochs=2, directory=tmp_path / "fit")
    with pytest.raises(
        ConfigurationError, match=r"Expected extra state of backbone\.5 that JSON can hold .*, got dict"
    ):
        convert(counting({1, 2}), EXAMPLE).save(tmp_path / "no")


def pooled_norm() -> nn.Sequential:
    """BatchNorm on one value a channel and image."""
    return nn.Sequential(*layers(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))


def test_a_last_batch_of_one_is_left_out() -> None:
    """BatchNorm cannot normalise it; batches of one alone are refused in one line."""
    whole, one = (torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])), (torch.randn(1, 3, 16, 16), torch.tensor([4]))
    history = fit(convert(pooled_norm(), EXAMPLE), [whole, one], recipe="joint", epochs=1)
    assert history[0].images == 4
    with pytest.raises(DataError, match="Expected batches of at least two images"):
        fit(convert(pooled_norm(), EXAMPLE), [one, one], recipe="joint", epochs=1)


class Centred(nn.Module):
    """Takes the mean of a batch off."""

    def forward(self, x: Tensor) -> Tensor:
        """The images."""
        return x - x.mean(dim=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.BatchNorm2d(8, track_running_stats=False), r"4 \(BatchNorm2d\)"),
        (Centred, r"4 \(Centred\)"),
        (lambda: nn.Softmax(dim=0), r"4 \(Softmax\)"),
    ],
)
def test_answers_that_depend_on_the_batch_are_refused(make: Callable[[], nn.Module], named: str) -> None:
    """The module is named."""
    backbone = plain()
    backbone[4] = make()
    with pytest.raises(ConversionError, match=f"depend on each image alone, but {named} mixes the images"):
        convert(backbone, EXAMPLE)


def test_a_forward_that_mixes_images_is_refused() -> None:
    """Where no module of its own does it; and large activations are no mixing."""

    class Mixing(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            """Logits, about their mean."""
            logits: Tensor = super().forward(input)  # type: ignore[no-untyped-call]  # torch has no type for it
            return logits - logits.mean(dim=0)

    with pytest.raises(ConversionError, match=r"but Mixing\.forward mixes the images"):
        convert(Mixing(*plain()), EXAMPLE)
    loud: Any = plain()
    with torch.no_grad():
        loud[-1].weight.mul_(1e6)
        loud[0].weight.mul_(1e4)
    convert(loud, EXAMPLE)
