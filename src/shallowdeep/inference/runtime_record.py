"""What a bundle says of the runtime it was written for, and whether the one that is installed can run it (no torch)."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shallowdeep.errors import CheckpointError

# Bundles of an older OpenVINO than the extra asks for were never tested; another runtime refuses by itself what it
# cannot run, by the version that stands in each ONNX file.
_OLDEST = {"openvino": "2026.2"}
_COMPARED = 2  # numbers of a version: year and release; patches change no format


@dataclass(frozen=True)
class BorderRecord:
    """What passes from a segment to the next one.

    Attributes:
        exit: that the segment before it ends at.
        element: type of the values, ``u8``, ``bf16`` or ``f32``.
        layout: ``NHWC`` or ``NCHW`` for maps, ``as computed`` for others.
    """

    exit: int
    element: str
    layout: str


@dataclass(frozen=True)
class RuntimeRecord:
    """The runtime that a bundle was written for.

    Attributes:
        package: as pip calls it.
        version: that was installed when the bundle was written.
        borders: what passes between segments, in turn; empty where that is the runtime's own affair.
        buckets: sizes of batch that segments are compiled for, ascending; empty for any.
    """

    package: str
    version: str
    borders: tuple[BorderRecord, ...] = ()
    buckets: tuple[int, ...] = ()

    def rows(self, samples: int) -> int:
        """Return how many samples are computed for so many: those of the next larger size, where sizes are few."""
        return next((size for size in self.buckets if size >= samples), samples)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {
            "package": self.package,
            "version": self.version,
            "borders": [asdict(border) for border in self.borders],
            "buckets": list(self.buckets),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RuntimeRecord:
        """From a manifest.

        Raises:
            KeyError: something is missing.
            ValueError: buckets that are not ascending numbers above 0.
            TypeError: something is of another kind.
        """
        buckets = tuple(int(size) for size in document["buckets"])
        if list(buckets) != sorted({size for size in buckets if size > 0}):
            raise ValueError(f"Expected ascending sizes of batch, got {list(buckets)}")
        borders = tuple(BorderRecord(**border) for border in document["borders"])
        return cls(str(document["package"]), str(document["version"]), borders, buckets)


def installed(package: str) -> str | None:
    """Return the version of a package that is installed, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_runtime(record: RuntimeRecord | None, where: str) -> None:
    """Refuse a bundle that the installed runtime may not run as it was written.

    OpenVINO reads files of older releases, not of newer ones. A bundle without a record, or whose runtime is not
    installed, passes: that is told when it is opened.

    Args:
        record: of the bundle; None for one that has none.
        where: what errors call it.

    Raises:
        CheckpointError: it was written with a newer release than is installed, or with one too old.
    """
    if record is None or record.package not in _OLDEST:
        return
    name, oldest = record.package, _OLDEST[record.package]
    if _release(record.version) < _release(oldest):
        raise CheckpointError(
            f"Expected {where} to be written with {name} {oldest} or newer, found {record.version}; export it again"
        )
    here = installed(name)
    if here is not None and _release(here) < _release(record.version):
        needed = ".".join(map(str, _release(record.version)))
        raise CheckpointError(f"Expected {name} {needed} or newer for {where}, found {here}; pip install -U {name}")


def _release(version: str) -> tuple[int, ...]:
    """Return year and release of a version; nothing where it does not begin with numbers."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in numbers.group().split(".")[:_COMPARED]) if numbers else ()
