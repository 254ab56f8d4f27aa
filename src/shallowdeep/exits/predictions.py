"""What every exit says about every sample: the one thing all analysis is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from array_api_compat import array_namespace, device

from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.array_file import read_arrays
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.files import replacing

_LOGITS_AXES = 3  # (E, N, C)
_FIELDS = ("logits", "labels", "costs")


@dataclass(frozen=True, eq=False)
class ExitPredictions:
    """Logits of all exits on one split, with the true labels and what reaching each exit costs.

    All three arrays are of one array API library (NumPy, torch, ...) and on one device. Do not write to them.

    Args:
        logits: (E, N, C) float32, unnormalised, finite.
        labels: (N,) integers in [0, C).
        costs: (E,) floating, relative to the unmodified backbone (= 1), strictly increasing; internal classifiers
            passed on the way are included, so the last may exceed 1.

    Raises:
        DataError: a shape, dtype or value is not as above.
    """

    logits: Array
    labels: Array
    costs: Array

    def __post_init__(self) -> None:
        _check_layout(self.logits, self.labels, self.costs)
        _check_values(self.logits, self.labels, self.costs)

    @property
    def exits(self) -> int:
        """Number of exits, the final classifier included."""
        return int(self.logits.shape[0])

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.logits.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[2])

    def save(self, path: Path, weights: str = "") -> None:
        """Write ``logits``, ``labels`` and ``costs`` to an npz file, whole or not at all.

        Args:
            path: the file to write or renew; missing folders are made.
            weights: SHA-256 of the weights file they come from, kept beside them.

        Raises:
            OutputError: the file cannot be written.
        """
        with replacing(path) as temporary, temporary.open("wb") as file:  # given a path, savez may add a suffix
            arrays = {name: to_numpy(getattr(self, name)) for name in _FIELDS}
            np.savez(file, allow_pickle=False, weights=np.array(weights), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the predictions in an npz file, as NumPy arrays.

        Nothing in the file is executed (no pickle). Arrays beside the three are ignored.

        Args:
            path: a file written by ``save``, or any npz with the same three arrays.

        Raises:
            CheckpointError: there is no such file, it is truncated, altered or foreign, or its arrays are not
                predictions.
        """
        arrays = read_arrays(path, _FIELDS)
        try:
            return cls(*(arrays[name] for name in _FIELDS))
        except DataError as error:
            raise CheckpointError(f"{error}, in {path}") from error


def _check_layout(logits: Array, labels: Array, costs: Array) -> None:
    """Raise DataError unless library, device, shapes and dtypes go together."""
    try:
        xp = array_namespace(logits, labels, costs)
    except TypeError as error:
        kinds = ", ".join(type(array).__name__ for array in (logits, labels, costs))
        raise DataError(f"Expected logits, labels and costs from one array library, got {kinds}") from error
    devices = {str(device(array)) for array in (logits, labels, costs)}
    if len(devices) > 1:
        raise DataError(f"Expected logits, labels and costs on one device, got {', '.join(sorted(devices))}")
    shape = tuple(logits.shape)
    if len(shape) != _LOGITS_AXES or 0 in shape:
        raise DataError(f"Expected logits of shape (exits, samples, classes), none of them 0, got {shape}")
    if tuple(labels.shape) != shape[1:2]:
        raise DataError(f"Expected labels of shape {shape[1:2]} for logits {shape}, got {tuple(labels.shape)}")
    if tuple(costs.shape) != shape[:1]:
        raise DataError(f"Expected costs of shape {shape[:1]} for logits {shape}, got {tuple(costs.shape)}")
    if logits.dtype != xp.float32:
        raise DataError(f"Expected logits of dtype float32, got {logits.dtype}")
    if not xp.isdtype(labels.dtype, "integral"):
        raise DataError(f"Expected integer labels, got dtype {labels.dtype}")
    if not xp.isdtype(costs.dtype, "real floating"):
        raise DataError(f"Expected floating costs, got dtype {costs.dtype}")


def _check_values(logits: Array, labels: Array, costs: Array) -> None:
    """Raise DataError unless logits are finite, labels are classes and costs rise from exit to exit."""
    xp = array_namespace(logits, labels, costs)
    bad = int(xp.count_nonzero(~xp.isfinite(logits)))
    if bad:
        raise DataError(f"Expected finite logits, got {bad} that are infinite or not a number")
    classes = int(logits.shape[2])
    low, high = int(xp.min(labels)), int(xp.max(labels))
    if low < 0 or high >= classes:
        raise DataError(f"Expected labels in [0, {classes}), got labels from {low} to {high}")
    values = [float(cost) for cost in costs]
    steps = zip([0.0, *values], [*values, float("inf")], strict=True)
    if not all(before < after for before, after in steps):  # also false for nan and inf
        raise DataError(f"Expected finite positive costs that rise from exit to exit, got {values}")
