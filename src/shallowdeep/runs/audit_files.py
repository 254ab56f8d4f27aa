"""What an audit leaves in a RUN, for its report: findings and pictures, in one JSON file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.errors import CheckpointError
from shallowdeep.files import write_json

BACKDOOR, SLOWDOWN, SUSPECTS = "audit-backdoor.json", "audit-slowdown.json", "audit-suspects.json"
AUDITS = {"backdoor": BACKDOOR, "suspects": SUSPECTS, "slowdown": SLOWDOWN}
_MIDDLE = 127.5  # grey: no difference


@dataclass(frozen=True, eq=False)
class Picture:
    """An image before and after a change.

    Attributes:
        before: (S, S, 3) uint8.
        after: (S, S, 3) uint8.
        caption: what is to be seen.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    caption: str

    def difference(self) -> tuple[NDArray[np.uint8], float]:
        """The change around grey, enlarged until it fills the range, and by how much it was enlarged."""
        change = self.after.astype(np.float64) - self.before
        factor = _MIDDLE / max(float(np.abs(change).max()), 1.0)
        return np.rint(_MIDDLE + factor * change).astype(np.uint8), factor

    def to_dict(self) -> dict[str, Any]:
        """What the file holds: PNG in base64."""
        difference, factor = self.difference()
        return {
            "before": _png(self.before),
            "after": _png(self.after),
            "difference": _png(difference),
            "enlarged": factor,
            "caption": self.caption,
        }


def write_audit(run: Path, name: str, document: dict[str, Any], pictures: Sequence[Picture] = ()) -> list[Path]:
    """Write an audit's findings and pictures to a RUN; returns the files written.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(run / name, {**document, "pictures": [picture.to_dict() for picture in pictures]})
    return [run / name]


def read_audits(run: Path, weights: str) -> dict[str, dict[str, Any]]:
    """Return the audits that a RUN holds of its weights: ``backdoor``, ``suspects``, ``slowdown``.

    Raises:
        CheckpointError: one is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for what, name in AUDITS.items():
        path = run / name
        if not path.exists():
            continue
        try:
            document = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"Expected an audit in {path}, got: {error}") from error
        if document.get("weights") == weights:
            found[what] = document
    return found


def evenly(count: int, wanted: int) -> list[int]:
    """Return at most ``wanted`` places in [0, count), evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int)).tolist() if count else []


def _png(pixels: NDArray[np.uint8]) -> str:
    """A PNG file's bytes in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
