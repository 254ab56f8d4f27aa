"""Results become JSON in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shallowdeep.documents import plain


@dataclass(frozen=True)
class _Inner:
    costs: tuple[float, ...]
    missing: float | None = None


@dataclass(frozen=True)
class _Outer:
    name: str
    by_exit: dict[int, _Inner]
    path: Path
    counts: object


def test_nested_results_become_what_json_reads_back() -> None:
    """Dataclasses, mappings, tuples, paths and arrays at any depth."""
    result = _Outer("x", {0: _Inner((0.5, 1.0))}, Path("run") / "a.json", np.array([[1, 2]]))
    expected = {
        "name": "x",
        "by_exit": {"0": {"costs": [0.5, 1.0], "missing": None}},
        "path": "run/a.json",
        "counts": [[1, 2]],
    }
    assert plain(result) == expected
    assert json.loads(json.dumps(plain(result))) == expected


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), np.bool_(True)])
def test_numpy_scalars_become_plain(value: np.generic) -> None:
    """A NumPy scalar is a number or a truth value."""
    assert json.dumps(plain(value)) == json.dumps(value.item())


def test_what_json_cannot_hold_is_refused() -> None:
    """Anything else is a mistake of ours, told by its type."""
    with pytest.raises(TypeError, match="Expected a value that JSON can hold, got object"):
        plain({"a": [object()]})
