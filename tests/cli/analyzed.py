"""What tests of `analyze` and `report` start from: a small run, predictions of another program, and how to ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tests.conftest import Shell

SPLIT = ("--calibration-fraction", 0.5)
JOINT = ("--recipe", "joint", "--exits", 2, "--epochs", 2, *SPLIT)


def document(shell: Shell, *arguments: object) -> dict[str, Any]:
    """What a command prints with --json."""
    status, output, errors = shell(*arguments, "--json")
    assert status == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def refused(shell: Shell, *arguments: object) -> str:
    """The one line of a command that is refused."""
    status, output, errors = shell(*arguments)
    lines = [line for line in errors.splitlines() if line.strip()]
    assert (status, output, len(lines)) == (2, "", 1), errors
    return lines[0]


def recorded(**change: object) -> Path:
    """An npz file of three exits and three classes."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "logits": generator.normal(size=(3, 40, 3)).astype(np.float32),
        "labels": generator.integers(0, 3, 40),
        "costs": np.array([0.2, 0.6, 1.0]),
    }
    arrays.update(change)
    np.savez("theirs.npz", **{name: value for name, value in arrays.items() if value is not None})
    return Path("theirs.npz")
