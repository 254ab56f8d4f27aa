"""What the parts of a dataset are called, and which part is tested on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shallowdeep.data.sources.source import HIDDEN, Part

TRAIN, TEST, VALIDATION, CALIBRATION = "train", "test", "validation", "calibration"

_NAMES = re.compile(r"(train|test|calibration|validation|valid|val|dev)(?:ing)?(?:[-_. ]|$)", re.IGNORECASE)
_SAME = {"valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION}


def part_of_file(name: str) -> str:
    """Return the part that a file's name begins with, in any case, such as "train" for `Training-00000.parquet`."""
    match = _NAMES.match(name)
    part = match.group(1).lower() if match else ""
    return _SAME.get(part, part)


def part_of_folder(name: str) -> str:
    """Return the part that a folder is called like, "" for none: `test_images` may be a class."""
    match = _NAMES.fullmatch(name)
    return part_of_file(name) if match else ""


def tested_on(found: Mapping[str, Part]) -> tuple[Part | None, tuple[str, ...]]:
    """Return the test part, or the validation part where there is none with labels; and what to say of it.

    Args:
        found: "test" and "validation", where they are there; hidden labels are all -1.
    """
    hidden = [what for what in (TEST, VALIDATION) if what in found and (found[what].labels == HIDDEN).all()]
    chosen = next((what for what in (TEST, VALIDATION) if what in found and what not in hidden), None)
    if not hidden:
        return (None if chosen is None else found[chosen]), ()
    told = f"The labels of the {hidden[0]} part are hidden: "
    if chosen is None:
        return None, (f"{told}images to test on are held out of the training part",)
    return found[chosen], (f"{told}the {chosen} part is tested on",)
