"""What an audit leaves in a RUN, for its report: findings and pictures, in one JSON file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.artifacts import BACKDOOR_AUDIT, SLOWDOWN_AUDIT, SUSPECTS_AUDIT
from shallowdeep.audits.backdoor_audit import BackdoorAudit
from shallowdeep.audits.slowdown_audit import SlowdownAudit
from shallowdeep.audits.stored_audits import Audits, EncodedPicture
from shallowdeep.audits.suspects_audit import SuspectsAudit, TriggersAudit
from shallowdeep.documents import plain
from shallowdeep.errors import CheckpointError
from shallowdeep.files import write_json

AUDITS = {"backdoor": BACKDOOR_AUDIT, "suspects": SUSPECTS_AUDIT, "slowdown": SLOWDOWN_AUDIT}
Audit = BackdoorAudit | SuspectsAudit | TriggersAudit | SlowdownAudit
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

    def encoded(self) -> EncodedPicture:
        """What the file holds."""
        difference, factor = self.difference()
        return EncodedPicture(_png(self.before), _png(self.after), _png(difference), factor, self.caption)


def write_audit(run: Path, name: str, audit: Audit, pictures: Sequence[Picture] = ()) -> list[Path]:
    """Write an audit and its pictures to a RUN; returns the files written.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(run / name, {**plain(audit), "pictures": plain([picture.encoded() for picture in pictures])})
    return [run / name]


def read_audits(run: Path, weights: str) -> Audits:
    """Return the audits that a RUN holds of its weights.

    Raises:
        CheckpointError: one is damaged.
    """
    found = {}
    for what, name in AUDITS.items():
        document = _document(run / name)
        if document is not None and document.get("weights") == weights:
            found[what] = document
    return audits_from(found, str(run))


def audits_from(documents: Mapping[str, Mapping[str, Any]], source: str) -> Audits:
    """Return audits from their JSON documents.

    Args:
        documents: by the name of the audit, one of `AUDITS`.
        source: named in errors.

    Raises:
        CheckpointError: one lacks something.
    """
    if not documents:
        return Audits()
    from cattrs import BaseValidationError, transform_error  # noqa: PLC0415 - not needed without audits
    from cattrs.preconf.json import make_converter  # noqa: PLC0415

    pictures = {f"{what}_pictures": document.get("pictures", ()) for what, document in documents.items()}
    try:
        return make_converter().structure({**documents, **pictures}, Audits)
    except BaseValidationError as error:
        raise CheckpointError(f"Expected audits in {source}, got others: {transform_error(error)[0]}") from error


def _document(path: Path) -> dict[str, Any] | None:
    """The JSON document in a file; None where there is none."""
    try:
        return dict(json.loads(path.read_text())) if path.exists() else None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"Expected an audit in {path}, got: {error}") from error


def evenly(count: int, wanted: int) -> list[int]:
    """Return at most ``wanted`` places in [0, count), evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int)).tolist() if count else []


def _png(pixels: NDArray[np.uint8]) -> str:
    """A PNG file's bytes in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
