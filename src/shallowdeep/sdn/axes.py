"""What operations that move dimensions do to their labels.

Axes are labels, one per dimension: N samples, C channels or features, H and W space, L tokens, ? unknown. Each rule
takes (axes, shape before, shape after, positional arguments, keyword arguments) and returns the axes after the
operation, or None where they cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from torch import fx

Axes = tuple[str, ...]
Shape = tuple[int, ...]
Arguments = Sequence[Any]
Keywords = Mapping[str, Any]


def moved(
    operation: str, axes: Axes, shapes: tuple[Shape, Shape], values: Arguments, keywords: Keywords
) -> Axes | None:
    """The axes after ``operation``, which is one of `MOVING`; None where its arguments do not tell them."""
    before, after = shapes
    try:
        result = MOVING[operation](axes, before, after, values, keywords)
    except (IndexError, KeyError, TypeError, ValueError):  # a way of passing arguments that the rules do not know
        return None
    return result if result is not None and len(result) == len(after) else None


def regrouped(axes: Axes, before: Shape, after: Shape, *_: Any) -> Axes | None:  # noqa: ANN401 - the rules' signature
    """After a reshape: groups of dimensions with equal products; H and W merge to L, and all else with C to C."""
    labels: list[str] = []
    i = 0
    for size in after:
        if i < len(before) and before[i] == size:
            group = [axes[i]]
            i += 1
        else:
            start = i
            while i < len(before) and prod(before[start:i]) < size:
                i += 1
            if prod(before[start:i]) != size or start == i:
                return None
            group = list(axes[start:i])
        labels.append(_merged(group))
    if prod(before[i:]) != 1:
        return None
    if i < len(before) and labels:
        labels[-1] = _merged([labels[-1], *axes[i:]])
    return tuple(labels)


def _merged(group: list[str]) -> str:
    if len(group) == 1:
        return group[0]
    if set(group) <= {"H", "W"}:
        return "L"
    return "C" if "C" in group and set(group) <= {"C", "H", "W", "L"} else "?"


def _permuted(axes: Axes, _: Shape, __: Shape, values: Arguments, keywords: Keywords) -> Axes:
    order = values or [keywords["dims"]]
    return tuple(axes[int(d)] for d in (order[0] if isinstance(order[0], (list, tuple)) else order))


def _transposed(axes: Axes, _: Shape, __: Shape, values: Arguments, keywords: Keywords) -> Axes:
    order = list(axes)
    a, b = values or (keywords["dim0"], keywords["dim1"])
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _reduced(axes: Axes, before: Shape, after: Shape, values: Arguments, keywords: Keywords) -> Axes:
    if len(before) == len(after):
        return axes
    dims = values[0] if values else keywords["dim"]
    gone = {d % len(axes) for d in ([dims] if isinstance(dims, int) else dims)}
    return tuple(label for d, label in enumerate(axes) if d not in gone)


def _indexed(axes: Axes, _: Shape, __: Shape, values: Arguments, ___: Keywords) -> Axes | None:
    """Slices keep an axis, integers drop it, None adds an unknown one."""
    index = values[0] if isinstance(values[0], tuple) else (values[0],)
    if any(item is Ellipsis for item in index):
        at = next(i for i, item in enumerate(index) if item is Ellipsis)
        index = index[:at] + (slice(None),) * (len(axes) - len(index) + 1) + index[at + 1 :]
    left = list(axes)
    labels: list[str] = []
    for item in index:
        if item is None:
            labels.append("?")
            continue
        label = left.pop(0)
        if isinstance(item, slice):
            labels.append(label)
        elif not isinstance(item, (int, fx.Node)):
            return None
    return (*labels, *left)


MOVING: dict[str, Callable[[Axes, Shape, Shape, Arguments, Keywords], Axes | None]] = {
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
    "flatten": regrouped,
    "reshape": regrouped,
    "view": regrouped,
    "mean": _reduced,
    "sum": _reduced,
    "amax": _reduced,
    "getitem": _indexed,
}
