"""Graphs that equal their module in both modes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.tracing import TracedBackbone, trace


def targets(traced: TracedBackbone, op: str = "call_module") -> list[str]:
    """Targets of the graph's nodes of one kind."""
    return [str(node.target) for node in traced.graph.nodes if node.op == op]


def run(traced: TracedBackbone, x: Tensor) -> Tensor:
    """The graph's output for ``x``; only for graphs without constants of their own."""
    output: Tensor = fx.Interpreter(traced.backbone, graph=traced.graph).run(x)
    return output


class Block(nn.Module):
    """A convolution with functional dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Dropout told the mode in two ways."""
        x = F.dropout(self.conv(x), 0.5, training=self.training)
        return F.dropout(x, p=0.5 if self.training else 0.0)


class Branching(nn.Module):
    """A block that no symbolic tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One way for positive sums, one for others."""
        if x.sum() > 0:
            x = x + 1
        output: Tensor = self.conv(x)
        return output


class Net(nn.Module):
    """Two inner modules, the second nested one deeper."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.outer = nn.Sequential(nn.ReLU(), inner)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        output: Tensor = self.head(self.outer(self.first(x)).mean((2, 3)))
        return output


@pytest.mark.parametrize("training", [False, True])
def test_modes_are_read_again_at_run_time(training: bool) -> None:
    """``F.dropout(training=self.training)`` and ``p if self.training else 0`` follow the mode after tracing."""
    net = Net(Block()).train(training)
    traced = trace(net)
    for mode in (False, True, False):
        net.train(mode)
        x = torch.randn(4, 3, 8, 8)
        torch.manual_seed(0)
        expected = net(x)
        torch.manual_seed(0)
        assert torch.equal(run(traced, x), expected)


def test_a_submodule_put_in_eval_by_hand_is_obeyed() -> None:
    """One block in eval mode inside a network in train mode drops nothing in the graph either."""
    net = Net(Block())
    traced = trace(net)
    net.train()
    net.outer[1].eval()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(run(traced, x), run(traced, x))
    assert torch.equal(run(traced, x), net(x))


def test_untraceable_module_becomes_the_smallest_leaf() -> None:
    """Only the module with the data-dependent branch is run whole, not the one around it."""
    net = Net(Branching())
    traced = trace(net)
    assert list(traced.opaque) == ["outer.1"]
    assert "test_tracing.py:" in traced.opaque["outer.1"]
    assert targets(traced) == ["first", "outer.0", "outer.1", "head"]
    for x in (torch.ones(1, 3, 2, 2), -torch.ones(3, 3, 2, 2)):
        assert torch.equal(run(traced, x), net(x))


def test_several_untraceable_modules_are_found_in_one_go() -> None:
    """Each of many failing blocks becomes a leaf; the blocks between them stay traced."""
    net = Net(nn.Sequential(Branching(), Block(), Branching(), Block()))
    assert list(trace(net).opaque) == ["outer.1.0", "outer.1.2"]


class SkipsInTraining(nn.Module):
    """Stochastic depth written as Python control flow in the module above the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])

    def forward(self, x: Tensor) -> Tensor:
        """The first block is skipped in train mode."""
        for i, block in enumerate(self.blocks):
            if not (self.training and i == 0):
                x = block(x)
        return x


def test_another_way_in_train_mode_makes_the_module_a_leaf() -> None:
    """Where the ways part in a ModuleList, the module that holds the list is run whole."""
    net = Net(SkipsInTraining())
    traced = trace(net)
    assert traced.opaque == {"outer.1": "its forward takes another way in train mode"}
    x = torch.randn(2, 3, 4, 4)
    for mode in (True, False):
        net.train(mode)
        assert torch.equal(run(traced, x), net(x))


def test_another_way_in_train_mode_at_the_root_is_refused() -> None:
    """Other logits in train mode name the class and what to do."""

    class Auxiliary(Net):
        def forward(self, x: Tensor) -> Any:  # noqa: ANN401 - that is the point
            logits = super().forward(x)
            return (logits + 1).relu() if self.training else logits

    with pytest.raises(ConversionError, match=r"Auxiliary.forward takes another way in train mode.*auxiliary heads"):
        trace(Auxiliary(nn.ReLU()))


def test_untraceable_root_names_class_line_and_remedy() -> None:
    """The message has class, file:line of the user's code, reason and remedy, in one line."""

    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            if y.mean() > 0:
                y = -y
            return y.mean((2, 3))

    with pytest.raises(ConversionError) as caught:
        trace(Loose())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("Loose.forward cannot be traced at ")
    assert "test_tracing.py:" in message
    assert "control flow" in message
    assert "submodule of its own" in message


class Constants(nn.Module):
    """Tensors of every kind that a forward can read."""

    count: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("count", torch.zeros(()))
        self.plain = torch.tensor(2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Reads a created tensor, a computed buffer and a plain tensor attribute."""
        x = self.conv(x) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
        return (x * self.scale.view(3, 1, 1) * 2 / self.plain).mean((2, 3))


def test_tracing_leaves_the_module_as_it_was() -> None:
    """No attribute, buffer, parameter or mode is added or changed, by success or by failure."""
    net = Constants()
    net.conv.eval()
    names, modes, state = set(vars(net)), [m.training for m in net.modules()], net.state_dict()
    traced = trace(net)
    assert list(traced.constants) == ["_tensor_constant0"]
    with pytest.raises(ConversionError, match="_Failing"):
        trace(_Failing(net))
    assert (set(vars(net)), [m.training for m in net.modules()]) == (names, modes)
    assert list(net.state_dict()) == list(state)
    assert len(list(net.buffers())) == 2


class _Failing(nn.Module):
    """Creates a tensor, then fails under tracing."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x) * torch.tensor([1.0, 2.0, 3.0])
        return y if bool(y.sum() > 0) else -y


def test_a_failed_trace_leaves_no_constant_behind() -> None:
    """A root that creates a tensor and then fails has no attribute more than before."""
    net = _Failing(nn.Conv2d(3, 3, 1))
    names = set(vars(net))
    with pytest.raises(ConversionError, match=r"_Failing\.forward"):
        trace(net)
    assert set(vars(net)) == names


def test_buffers_are_read_when_the_graph_runs() -> None:
    """A buffer that changes after tracing, as loading weights does, changes what the graph computes."""

    class Normalising(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.conv(x - self.mean[None, :, None, None]).mean((2, 3))
            return logits

    net = Normalising()
    traced = trace(net)
    net.mean.fill_(7.0)
    x = torch.randn(2, 3, 4, 4)
    assert traced.constants == {}
    assert torch.equal(run(traced, x), net(x))


def test_shapes_of_buffers_and_parameters_are_constants() -> None:
    """Branches on the shape of a parameter or a buffer do not stop tracing."""

    class Branches(nn.Module):
        table: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(1, 3))
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x).mean((2, 3))
            if (
                self.table.shape[0] == 1
                and self.table.dim() == 2
                and self.table.numel() > 2
                and self.table.size(1) == 3
            ):
                y = y * self.table
            return y + self.table.ndim if self.table.size()[-1] == 3 else y

    net = Branches()
    traced = trace(net)
    assert traced.opaque == {}
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(run(traced, x), net(x))


def test_random_tensors_created_in_forward_are_not_frozen() -> None:
    """A module that makes noise of fixed shape is run whole, so that the noise is new each time."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x) + torch.rand(1, 3, 1, 1)
            return y

    traced = trace(Net(Noisy()))
    assert list(traced.opaque) == ["outer.1"]


def test_arguments_with_defaults_keep_them() -> None:
    """A forward with further optional arguments is traced with their defaults."""

    class Optional(Net):
        def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 2.0) -> Tensor:
            logits = super().forward(x) * scale
            return logits if mask is None else logits * mask

    net = Optional(nn.ReLU())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(run(trace(net), x), net(x))


class AsksShapes(Net):
    """Asserts and branches on sizes, at the root and inside."""

    def forward(self, x: Tensor) -> Tensor:
        """Grey images become coloured ones."""
        assert len(x.shape) == x.ndim == 4, "expected images"
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        height, width = x.shape[-2:]
        if height * 2 < width:
            x = x.transpose(2, 3)
        return super().forward(x)


@pytest.mark.parametrize("channels", [1, 3])
def test_branches_on_shapes_follow_the_example(channels: int) -> None:
    """With an example, questions about its size are answered, without running layers in train mode."""
    net = AsksShapes(nn.BatchNorm2d(3))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    traced = trace(net, torch.zeros(1, channels, 4, 10))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    x = torch.randn(2, channels, 4, 10)
    net.eval()
    assert torch.equal(run(traced, x), net(x))


def test_branches_inside_modules_follow_the_example() -> None:
    """A shape question deep inside leaves the module traced."""

    class Pads(Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.pad(x, (0, 1)) if x.shape[-1] % 2 else x)

    net = Net(Pads())
    assert trace(net, torch.zeros(1, 3, 5, 5)).opaque == {}
    assert list(trace(net).opaque) == ["outer.1"]


@pytest.mark.parametrize("question", [lambda x: x.shape[0] > 16, lambda x: x.mean() > 0, lambda x: x.max().item() > 0])
def test_branches_on_batch_size_or_contents_are_not_decided(question: Any) -> None:  # noqa: ANN401 - a function
    """What may change from batch to batch keeps the module whole."""

    class Asks(Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if question(x) else x

    assert list(trace(Net(Asks()), torch.zeros(1, 3, 4, 4)).opaque) == ["outer.1"]
