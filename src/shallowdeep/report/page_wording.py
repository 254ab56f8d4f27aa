"""How numbers read in the report's page; what cannot be said is a dash."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from shallowdeep.analysis.bootstrap import Interval
from shallowdeep.analysis.error_detection import Detection

NONE = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def finite(value: object) -> Any:  # noqa: ANN401 - as nested as what comes in
    """Return the same in Python's own types and in dataclasses, every number that is not finite replaced by None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return finite(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: finite(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, list | tuple):
        return type(value)(finite(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as ``91.0 %``."""
    return NONE if fraction is None else f"{_signed(100 * fraction, digits)}{SPACE}%"


def lowest_auroc(blocks: Collection[Detection]) -> float:
    """Return where the scale of AUROC begins: at 0.5, guessing, unless an indicator or its interval lies below."""
    found = [block.auroc for block in blocks if block.auroc is not None]
    found += [min(block.intervals["auroc"]) for block in blocks if "auroc" in block.intervals]
    return 0.5 if min(found, default=1.0) >= 0.5 else 0  # noqa: PLR2004 - guessing


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed count of digits."""
    return NONE if value is None else _signed(value, digits)


def count(value: int | None) -> str:
    """Return a whole number with separators: ``10,000``."""
    return NONE if value is None else f"{value:,}"


def points(fraction: float | None, digits: int = 2, *, sign: bool = True) -> str:
    """Return a difference of two shares in points: ``+0.13 points``."""
    if fraction is None:
        return NONE
    text = _signed(100 * fraction, digits)
    return f"{'+' if sign and fraction > 0 else ''}{text}{SPACE}points"


def interval(
    intervals: Mapping[str, Interval], name: str, *, scale: float = 100, digits: int = 1, unit: str = "%"
) -> str:
    """Return a number's interval such as ``90.4 to 91.5 %`` in brackets after a space; nothing where there is none."""
    bounds = intervals.get(name)
    if bounds is None:
        return ""
    low, high = (_signed(scale * bound, digits) for bound in bounds)
    middle = NONE
    if _MINUS in low + high:
        middle, high = " to ", high if bounds[1] <= 0 else f"+{high}"
    return f" ({low}{middle}{high}{SPACE}{unit})" if unit else f" ({low}{middle}{high})"


def pairs(block: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Return names and texts of everything a nested block says; inner names stand after their outer ones."""
    return list(_pairs(block, prefix))


def _pairs(block: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _pairs(value, name)
        elif value not in (None, "", [], ()):
            yield name, in_words(value)


def in_words(value: object) -> str:
    """Return any value of a document as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in pairs(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(in_words(item) for item in value)
    return str(value)


def _signed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if text.startswith("-") and not float(text):  # a tiny loss is no loss, not minus nothing
        return text[1:]
    return text.replace("-", _MINUS)
