"""What exits said about a set of samples, as it may come from any program: labels, names and images may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.array_file import array_names, read_arrays
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.predictions import FURTHER, ExitPredictions

NEEDED, WANTED = ("logits", "costs"), ("labels", "class_names", "exit_names", "images")
_KNOWN = (*NEEDED, *WANTED, *FURTHER)
_IMAGE_AXES, _RGB = 4, 3
_LEAST_LAST_COST, _MOST_LAST_COST = 0.5, 2.0
_LARGEST_LOGIT = 1e38  # differences of larger ones pass float32's range


@dataclass(frozen=True, eq=False)
class Recorded:
    """Predictions of all exits, with whatever else is known.

    Args:
        logits: (E, N, C) floating, unnormalised, finite; kept as float32.
        costs: (E,) floating, of reaching each exit relative to the whole network, rising.
        labels: (N,) integers in [0, C), or None where the truth is not known.
        class_names: C of them; () for numbers.
        exit_names: E of them; () for numbers.
        images: (N, H, W, 3) uint8, or None.
        unread: names of arrays in its file that mean nothing here.

    Raises:
        DataError: shapes, dtypes or values that do not go together.
    """

    logits: NDArray[np.float32]
    costs: CostModel
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    exit_names: tuple[str, ...] = ()
    images: NDArray[np.uint8] | None = None
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        logits = np.asarray(self.logits)
        if logits.dtype.kind == "f" and logits.dtype != np.float32:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused below
                object.__setattr__(self, "logits", logits.astype(np.float32))
        object.__setattr__(self, "costs", CostModel.of(self.costs))
        checked = self.predictions  # refuses what does not go together
        if not _LEAST_LAST_COST <= checked.costs[-1] <= _MOST_LAST_COST:
            raise DataError(
                f"Expected costs relative to the whole network, about 1 at the end, got {checked.costs[-1]:g}"
            )
        largest = float(np.abs(checked.logits).max())
        if largest > _LARGEST_LOGIT:
            raise DataError(f"Expected logits of at most {_LARGEST_LOGIT:g} in size, got {largest:g}")
        for what, names, count in (
            ("class names", self.class_names, checked.classes),
            ("exit names", self.exit_names, checked.exits),
        ):
            if names and len(names) != count:
                raise DataError(f"Expected {count} {what}, got {len(names)}")
        if not self.class_names:
            object.__setattr__(self, "class_names", tuple(map(str, range(checked.classes))))
        if not self.exit_names:
            numbers = (f"exit {k}" for k in range(checked.exits - 1))
            object.__setattr__(self, "exit_names", (*numbers, "final"))
        images = self.images
        if images is not None and (
            images.ndim != _IMAGE_AXES
            or images.dtype != np.uint8
            or images.shape[-1] != _RGB
            or len(images) != checked.samples
        ):
            raise DataError(
                f"Expected images of shape ({checked.samples}, H, W, 3) and dtype uint8, got {images.shape} and "
                f"{images.dtype}"
            )

    @property
    def predictions(self) -> ExitPredictions:
        """All of it as `ExitPredictions`; without labels every label is 0, which only label-free parts may read."""
        logits = np.asarray(self.logits)
        samples = logits.shape[1] if logits.ndim > 1 else 0
        labels = np.zeros(samples, np.int64) if self.labels is None else self.labels
        return ExitPredictions(logits, labels, self.costs)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what an npz file holds; nothing in it is executed.

        Args:
            path: a file with ``logits`` and ``costs``, and any of ``labels``, ``class_names``, ``exit_names`` (arrays
                of strings) and ``images``.

        Raises:
            CheckpointError: it cannot be read, lacks what is needed, or holds arrays that do not go together.
        """
        arrays = read_arrays(path, NEEDED, WANTED)
        names = {
            field: tuple(map(_text, np.ravel(arrays[field])))
            for field in ("class_names", "exit_names")
            if field in arrays
        }
        try:
            return cls(
                arrays["logits"],
                CostModel.of(arrays["costs"]),
                arrays.get("labels"),
                images=arrays.get("images"),
                unread=tuple(name for name in array_names(path) if name not in _KNOWN),
                **names,
            )
        except DataError as error:
            raise CheckpointError(f"{error}, in {path}") from error


def _text(name: Any) -> str:  # noqa: ANN401 - an element of any array
    """Return a name that was saved as text or as bytes."""
    return name.decode("utf-8", errors="replace") if isinstance(name, bytes) else str(name)
