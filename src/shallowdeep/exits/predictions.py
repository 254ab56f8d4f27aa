"""What every exit says about every sample: the one thing all analysis is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import ArrayLike, NDArray

from shallowdeep.errors import CheckpointError, DataError
from shallowdeep.exits.array_file import read_arrays
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.costs import CostModel
from shallowdeep.files import replacing

FEW_SAMPLES = 300  # their accuracy has a standard error of two points and more
_LOGITS_AXES = 3  # (E, N, C)
_NEEDED = ("logits", "labels", "costs")
FURTHER = ("head_costs", "cascaded", "weights", "backend", "reference")


@dataclass(frozen=True, eq=False, init=False)
class ExitPredictions:
    """Logits of all exits on one split, with the true labels and what reaching each exit costs.

    Logits and labels are of one array API library (NumPy, torch, ...) and on one device. Do not write to them.

    Args:
        logits: (E, N, C) float32, unnormalised, finite.
        labels: (N,) integers in [0, C).
        costs: a `CostModel`, or (E,) floating costs relative to the unmodified backbone (= 1), strictly rising;
            internal classifiers passed on the way are included, so the last may exceed 1.
        weights: SHA-256 of the weights file they come from, or "".
        backend: the runtime that computed them, such as ``torch``, with its precision where that is not float32, such
            as ``openvino int8``; "" where it is not known.
        reference: (N,) integers in [0, C), the answers that losses are counted against, such as the float32 network's
            where these logits are of a lower precision; None for the final exit's own.

    Attributes:
        costs: the `CostModel`, which reads like E numbers; without heads' own costs where only numbers were given.

    Raises:
        DataError: a shape, dtype or value is not as above.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.zeros((2, 5, 3), np.float32)  # two exits, five samples, three classes
        >>> predictions = shallowdeep.ExitPredictions(logits, np.zeros(5, int), np.array([0.4, 1.0]))
        >>> predictions.exits, predictions.samples, predictions.classes, predictions.costs[-1]
        (2, 5, 3, 1.0)
    """

    logits: Array
    labels: Array
    costs: CostModel
    weights: str
    backend: str
    reference: NDArray[Any] | None

    def __init__(
        self,
        logits: Array,
        labels: Array,
        costs: CostModel | ArrayLike,
        *,
        weights: str = "",
        backend: str = "",
        reference: ArrayLike | None = None,
    ) -> None:
        model = costs if isinstance(costs, CostModel) else CostModel.of(to_numpy(costs))
        answers = None if reference is None else np.asarray(reference)
        values = {
            "logits": logits, "labels": labels, "costs": model, "weights": weights, "backend": backend,
            "reference": answers,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _check_layout(logits, labels, model)
        if answers is not None and answers.shape != tuple(labels.shape):
            raise DataError(f"Expected reference answers of shape {tuple(labels.shape)}, got {answers.shape}")
        _check_values(logits, labels)

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

    def subset(self, samples: Sequence[int] | NDArray[Any]) -> Self:
        """Return the predictions of some samples.

        Args:
            samples: (M,) integers in [0, N), in the order wanted; repeats are allowed.
        """
        return type(self)(
            self.logits[:, samples], self.labels[samples], self.costs, weights=self.weights, backend=self.backend,
            reference=None if self.reference is None else self.reference[np.asarray(samples)],
        )  # fmt: skip

    def of(self, weights: str) -> Self:
        """Return the same predictions, known to come from the weights file of this SHA-256."""
        return type(self)(
            self.logits, self.labels, self.costs, weights=weights, backend=self.backend, reference=self.reference
        )

    def costing(self, costs: CostModel) -> Self:
        """Return the same predictions with other costs, such as shares of the static network's time."""
        return type(self)(
            self.logits, self.labels, costs, weights=self.weights, backend=self.backend, reference=self.reference
        )

    def against(self, reference: ArrayLike) -> Self:
        """Return the same predictions, whose losses are counted against other answers (N,)."""
        return type(self)(
            self.logits, self.labels, self.costs, weights=self.weights, backend=self.backend, reference=reference
        )

    def save(self, path: Path | str) -> None:
        """Write all of it to an npz file, whole or not at all; see `load`.

        Args:
            path: the file to write or renew; missing folders are made.

        Raises:
            OutputError: the file cannot be written.
        """
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:  # given a path, savez may add a suffix
            np.savez(
                file,
                allow_pickle=False,
                logits=to_numpy(self.logits),
                labels=to_numpy(self.labels),
                costs=np.asarray(self.costs),
                head_costs=np.asarray(self.costs.heads),
                cascaded=np.array(self.costs.cascaded),
                weights=np.array(self.weights),
                backend=np.array(self.backend),
                **({} if self.reference is None else {"reference": self.reference}),
            )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Return the predictions in an npz file, as NumPy arrays.

        Nothing in the file is executed (no pickle). ``head_costs``, ``cascaded``, ``weights``, ``backend`` and
        ``reference`` may be missing, as in files of older versions and of other programs; other arrays are ignored.

        Args:
            path: a file written by ``save``, or any npz with ``logits``, ``labels`` and ``costs``.

        Raises:
            CheckpointError: there is no such file, it is truncated, altered or foreign, or its arrays are not
                predictions.
        """
        path = Path(path)
        arrays = read_arrays(path, _NEEDED, FURTHER)
        try:
            costs = CostModel.of(arrays["costs"])
            if "head_costs" in arrays and "cascaded" in arrays:
                costs = replace(costs, heads=tuple(arrays["head_costs"].tolist()), cascaded=bool(arrays["cascaded"]))
            origin = {name: str(arrays.get(name, "")) for name in ("weights", "backend")}
            return cls(arrays["logits"], arrays["labels"], costs, **origin, reference=arrays.get("reference"))
        except (DataError, TypeError, ValueError) as error:
            raise CheckpointError(f"{error}, in {path}") from error


def _check_layout(logits: Array, labels: Array, costs: CostModel) -> None:
    """Raise DataError unless library, device, shapes and dtypes go together."""
    try:
        xp = array_namespace(logits, labels)
    except TypeError as error:
        kinds = ", ".join(type(array).__name__ for array in (logits, labels))
        raise DataError(f"Expected logits and labels from one array library, got {kinds}") from error
    devices = {str(device(array)) for array in (logits, labels)}
    if len(devices) > 1:
        raise DataError(f"Expected logits and labels on one device, got {', '.join(sorted(devices))}")
    shape = tuple(logits.shape)
    if len(shape) != _LOGITS_AXES or 0 in shape:
        raise DataError(f"Expected logits of shape (exits, samples, classes), none of them 0, got {shape}")
    if tuple(labels.shape) != shape[1:2]:
        raise DataError(f"Expected labels of shape {shape[1:2]} for logits {shape}, got {tuple(labels.shape)}")
    if len(costs) != shape[0]:
        raise DataError(f"Expected costs of shape {shape[:1]} for logits {shape}, got {(len(costs),)}")
    if logits.dtype != xp.float32:
        raise DataError(f"Expected logits of dtype float32, got {logits.dtype}")
    if not xp.isdtype(labels.dtype, "integral"):
        raise DataError(f"Expected integer labels, got dtype {labels.dtype}")


def _check_values(logits: Array, labels: Array) -> None:
    """Raise DataError unless logits are finite and labels are classes."""
    xp = array_namespace(logits, labels)
    bad = int(xp.count_nonzero(~xp.isfinite(logits)))
    if bad:
        raise DataError(f"Expected finite logits, got {bad} that are infinite or not a number")
    classes = int(logits.shape[2])
    low, high = int(xp.min(labels)), int(xp.max(labels))
    if low < 0 or high >= classes:
        raise DataError(f"Expected labels in [0, {classes}), got labels from {low} to {high}")
