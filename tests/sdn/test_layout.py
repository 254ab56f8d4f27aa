"""What dimensions mean, by what makes and reads them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shallowdeep.sdn.axes import MOVING, moved, regrouped
from shallowdeep.sdn.layout import MAP, MAP_LAST, TOKENS, VECTOR, Layout, layouts
from shallowdeep.sdn.profile import profile
from shallowdeep.sdn.tracing import trace


def found(net: nn.Module, *shape: int) -> dict[str, Layout | None]:
    """Layouts by node name, on one image."""
    traced = trace(net)
    profiles = profile(traced, torch.zeros(1, *shape))
    known = layouts(traced.graph, dict(net.named_modules()), profiles)
    return {node.name: layout for node, layout in known.items()}


class SwinLike(nn.Module):
    """Patches, permuted to channels last for norm and linear layers, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.linear = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 16)."""
        x = self.linear(self.norm(self.patches(x).permute(0, 2, 3, 1)))
        return x.mean((1, 2))


def test_channels_last_maps() -> None:
    """Permutation moves the labels; norm, linear and mean keep them: also where H, W and C are all 8."""
    known = found(SwinLike(), 3, 32, 32)
    assert known["patches"] == Layout(MAP)
    assert [known[name] for name in ("permute", "norm", "linear")] == [Layout(MAP_LAST)] * 3
    assert known["mean"] == Layout(VECTOR)


class ConvNextLike(SwinLike):
    """There and back again."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 16, H, W)."""
        output: Tensor = self.linear(self.norm(self.patches(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2) * 2
        return output


def test_both_layouts_in_one_network() -> None:
    """The second permutation makes the map channels first again."""
    known = found(ConvNextLike(), 3, 32, 32)
    assert known["linear"] == Layout(MAP_LAST)
    assert known["permute_1"] == known["mul"] == Layout(MAP)


class VitLike(nn.Module):
    """Patches to tokens, with or without extra tokens of parameters in front."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.patches, self.linear = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.extra = nn.Parameter(torch.zeros(1, extra, 8)) if extra else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.extra is not None:
            x = torch.cat([self.extra.expand(x.shape[0], -1, -1), x], dim=1)
        y = self.linear(x)
        y = y + self.attention(y, y, y, need_weights=False)[0]
        output: Tensor = y[:, 0]
        return output


@pytest.mark.parametrize(("extra", "class_token"), [(0, False), (1, True), (4, False)])
def test_tokens(extra: int, class_token: bool) -> None:
    """Tokens are told from the flattened map; one token of parameters in front is a class token, four are registers."""
    known = found(VitLike(extra), 3, 32, 32)
    assert known["transpose"] == Layout(TOKENS)
    for name in ("linear", "getitem_1" if extra else "getitem", "add"):
        assert known[name] == Layout(TOKENS, class_token=class_token)


class Windows(nn.Module):
    """Splits the map into windows, whose dimensions have no names, and joins them again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, 8, 8)."""
        n = x.shape[0]
        x = self.first(x).view(n, 8, 2, 4, 2, 4)
        x = x.permute(0, 1, 2, 4, 3, 5)
        output: Tensor = self.second(x.permute(0, 1, 2, 4, 3, 5).reshape(n, 8, 8, 8))
        return output


def test_unknown_layouts_are_not_guessed() -> None:
    """Windows have no layout; the joined map gets its from the convolution that reads it."""
    known = found(Windows(), 3, 8, 8)
    assert known["view"] is None
    assert known["permute"] is None
    assert known["reshape"] == Layout(MAP)


def test_labels_through_operations() -> None:
    """Each rule on one example."""
    cases = [
        ("permute", MAP, (1, 2, 3, 4), (1, 3, 4, 2), [(0, 2, 3, 1)], {}, MAP_LAST),
        ("permute", MAP, (1, 2, 3, 4), (1, 3, 4, 2), [], {"dims": (0, 2, 3, 1)}, MAP_LAST),
        ("transpose", ("N", "C", "L"), (1, 2, 3), (1, 3, 2), [1, -1], {}, TOKENS),
        ("swapaxes", TOKENS, (1, 3, 2), (1, 2, 3), [1, 2], {}, ("N", "C", "L")),
        ("flatten", MAP, (1, 2, 3, 4), (1, 24), [1], {}, VECTOR),
        ("reshape", MAP, (1, 2, 3, 4), (1, 2, 12), [1, 2, 12], {}, ("N", "C", "L")),
        ("view", MAP_LAST, (1, 3, 4, 2), (1, 12, 2), [1, 12, 2], {}, TOKENS),
        ("mean", TOKENS, (1, 3, 2), (1, 2), [1], {}, VECTOR),
        ("mean", MAP, (1, 2, 3, 4), (1, 2, 1, 1), [(2, 3)], {"keepdim": True}, MAP),
        ("sum", MAP_LAST, (1, 3, 4, 2), (1, 2), [], {"dim": (1, 2)}, VECTOR),
        ("getitem", TOKENS, (1, 3, 2), (1, 2), [(slice(None), 0)], {}, VECTOR),
        ("getitem", MAP, (1, 2, 3, 4), (1, 2, 3, 2), [(Ellipsis, slice(0, 2))], {}, MAP),
        ("getitem", VECTOR, (1, 2), (1, 2, 1), [(slice(None), slice(None), None)], {}, ("N", "C", "?")),
    ]
    for name, axes, before, after, values, keywords, expected in cases:
        assert moved(name, axes, (before, after), values, keywords) == expected, name  # type: ignore[arg-type]  # a table


def test_unknown_arguments_give_no_labels() -> None:
    """Arguments that a rule does not know end in None, never in an error."""
    for name in MOVING:
        assert moved(name, MAP, ((1, 2, 3, 4), (5,)), [], {}) is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, 6, 4, 4), (1, 2, 3, 16), None),
        ((1, 6, 4, 4), (1, 6, 16, 1), None),
        ((1, 6, 4, 1), (1, 6, 4), ("N", "C", "L")),
        ((2, 6, 4, 4), (12, 16), ("?", "L")),
    ],
)
def test_regrouping(before: tuple[int, ...], after: tuple[int, ...], expected: tuple[str, ...] | None) -> None:
    """Splits have no labels; trailing ones are merged; samples mixed with channels are unknown."""
    assert regrouped(MAP, before, after) == expected
