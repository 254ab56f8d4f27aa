"""Weights into a network, whole or not at all; names matched, and what was stripped, ignored or new told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shallowdeep.errors import WeightsMismatchError, first_few
from shallowdeep.models.weights_file import read_state_dict

__all__ = ["LoadedWeights", "last_layer", "load_weights", "match_weights", "read_state_dict"]

WRAPPERS = frozenset({"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
"""What DataParallel, `torch.compile` and others put into names, before them or in their middle."""

_AUXILIARY = re.compile(r"(^|\.)aux\w*\.", re.IGNORECASE)  # heads that training alone needs
_COUNTERS = ("num_batches_tracked", "n_averaged")  # torch does without the first, and no network has the second


@dataclass(frozen=True)
class LoadedWeights:
    """What became of a file's names.

    Attributes:
        tensors: what the network gets, under its own names.
        stripped: what was taken off the file's names, such as ``module.``.
        ignored: names in the file that the network does without.
        new: names of the network that keep their initial values.
    """

    tensors: Mapping[str, Any]
    stripped: tuple[str, ...]
    ignored: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        """One line; "" where every name was as it should be."""
        parts = (("taken off", self.stripped), ("ignored", self.ignored), ("new", self.new))
        return "; ".join(f"{what}: {first_few(names)}" for what, names in parts if names)


def load_weights(module: nn.Module, state_dict: Mapping[str, Any], source: str, *, new: str = "") -> LoadedWeights:
    """Copies weights into a network, all of them or none.

    Args:
        module: changed in place; keeps its dtypes and devices, so half-precision files load into a float32 network.
        state_dict: as for `match_weights`.
        source: as for `match_weights`.
        new: as for `match_weights`.

    Raises:
        WeightsMismatchError: as for `match_weights`. The network is then as before.
    """
    matched = match_weights(module, state_dict, source, new=new)
    module.load_state_dict({**module.state_dict(), **matched.tensors})
    return matched


def match_weights(module: nn.Module, state_dict: Mapping[str, Any], source: str, *, new: str = "") -> LoadedWeights:
    """Returns which tensor of a file is which of a network; the network stays as it is.

    Names may carry what wrappers and training frameworks add. Missing may be counters of batches, as in old files, one
    of two tied tensors, and auxiliary heads; too many may be auxiliary heads.

    Args:
        module: the network.
        state_dict: a tensor of the right shape for every other parameter and buffer.
        source: where the weights are from, for the message.
        new: path of a layer that keeps its initial values, whatever the file says; "" for none.

    Raises:
        WeightsMismatchError: names that are missing or too many, other shapes, or integers for floats or the reverse;
            the first few are named.
    """
    expected: dict[str, Any] = module.state_dict()
    given, stripped, outside = _renamed(state_dict, expected)
    given |= {name: given[twin] for name, twin in _tied(expected) if name not in given and twin in given}
    begun = {name for name in expected if new and name.startswith(f"{new}.")}
    missing = [name for name in expected if name not in given and name not in begun and not name.endswith(_COUNTERS)]
    unexpected = [name for name in given if name not in expected and not name.endswith(_COUNTERS)]
    taken = {name: given[name] for name in expected if name in given and name not in begun}
    different = [
        f"{name}: expected {_form(expected[name], value)}, got {_form(value, expected[name])}"
        for name, value in taken.items()
        if not _fits(expected[name], value)
    ]
    different += [
        f"{name}: expected the values of {twin}, with which it is tied, got others"
        for name, twin in _tied(expected)
        if name in taken and twin in taken and not different and not torch.equal(taken[name], taken[twin])
    ]
    unused = [name for name in unexpected if _AUXILIARY.search(name)]
    untrained = [name for name in missing if _AUXILIARY.search(name)]
    found = "; ".join(
        f"{kind} {first_few(names)}"
        for kind, names in (
            ("missing", _without(missing, untrained)),
            ("unexpected", _without(unexpected, unused)),
            ("different", different),
        )
        if names
    )
    if found:
        raise WeightsMismatchError(f"Expected weights of {type(module).__name__} in {source}, got a mismatch: {found}")
    return LoadedWeights(taken, stripped, (*outside, *unused), (*sorted(begun), *untrained))


def last_layer(module: nn.Module, num_classes: int) -> str:
    """Returns the path of a classifier's last layer: the last of its layers with C outputs; "" for none."""
    paths = [
        path
        for path, layer in module.named_modules()
        if isinstance(weight := getattr(layer, "weight", None), Tensor)
        and weight.dim() > 1
        and weight.shape[0] == num_classes
    ]
    return paths[-1] if paths else ""


def _renamed(
    given: Mapping[str, Any], expected: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """Returns tensors under the names of a network, what was taken off them, and the names that do not carry it.

    Wrappers' pieces go where the network has none of them, then the beginning under which most of its names are found,
    if that is more than half of them.
    """
    pieces = set().union(*(name.split(".") for name in expected)) if expected else set()
    wrappers = WRAPPERS - pieces
    plain = {".".join(piece for piece in name.split(".") if piece not in wrappers): name for name in given}
    if len(plain) < len(given):  # two names fell together
        plain, wrappers = {name: name for name in given}, frozenset()
    stripped = [f"{piece}." for piece in sorted(wrappers) if any(piece in name.split(".") for name in given)]
    found = Counter(before for name in plain for before, rest in _cuts(name) if rest in expected)
    best = max(found, key=lambda before: (found[before], -len(before)), default="")
    if 2 * found[best] <= len(expected):
        best = ""
    tensors = {name.removeprefix(best): given[full] for name, full in plain.items() if name.startswith(best)}
    outside = [full for name, full in plain.items() if not name.startswith(best) and not name.endswith(_COUNTERS)]
    return tensors, tuple(stripped + [best] * bool(best)), tuple(outside)


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yields every way to cut a dotted name in two: ("", "a.b"), ("a.", "b")."""
    pieces = name.split(".")
    for place in range(len(pieces)):
        yield "".join(f"{piece}." for piece in pieces[:place]), ".".join(pieces[place:])


def _tied(expected: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields both orders of every two names that stand for one tensor."""
    places: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in expected.items():
        if isinstance(tensor, Tensor) and tensor.numel():
            places.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), []).append(name)
    for names in places.values():
        yield from ((one, other) for one in names for other in names if one != other)


def _fits(expected: Any, got: Any) -> bool:  # noqa: ANN401 - a tensor, or a module's extra state
    """Whether one tensor can be copied into another without losing what it means."""
    if not isinstance(expected, Tensor) or not isinstance(got, Tensor):
        return isinstance(expected, Tensor) == isinstance(got, Tensor)
    return expected.shape == got.shape and expected.is_floating_point() == got.is_floating_point()


def _form(value: Any, other: Any) -> str:  # noqa: ANN401 - a tensor, or a module's extra state
    """Returns a tensor's shape, or its dtype where the shapes agree."""
    if not isinstance(value, Tensor) or not isinstance(other, Tensor):
        return type(value).__name__
    return str(value.dtype).removeprefix("torch.") if value.shape == other.shape else str(tuple(value.shape))


def _without(names: Sequence[str], excused: Sequence[str]) -> list[str]:
    """Returns the names that are not excused."""
    return [name for name in names if name not in excused]
