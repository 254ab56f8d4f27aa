"""What the report's page knows of every sample, so that it can recompute accuracy and cost at any threshold."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import ConfigurationError

SLIDER_STEPS = 255  # of the slider: confidences are 8 bits wide
_MATRIX = 2


@dataclass(frozen=True)
class Series:
    """Confidences and outcomes of every sample at every exit.

    Args:
        confidence: (E, N) uint8, largest softmax probability times 255, rounded down.
        right: (E, N) bool, whether the exit's answer is the label; None without labels.
        costs: (E,) relative cost of leaving at each exit; the backbone's is 1.
        marks: names of thresholds in [0, 1] to be shown on the slider.

    Raises:
        ConfigurationError: arrays that do not fit together.
    """

    confidence: NDArray[np.uint8]
    right: NDArray[np.bool_] | None
    costs: NDArray[np.floating[Any]]
    marks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and types."""
        shape = self.confidence.shape
        if len(shape) != _MATRIX or self.confidence.dtype != np.uint8:
            raise ConfigurationError(f"Expected confidences (E, N) uint8, got {shape} {self.confidence.dtype}")
        if self.right is not None and (self.right.shape != shape or self.right.dtype != np.bool_):
            raise ConfigurationError(f"Expected outcomes {shape} bool, got {self.right.shape} {self.right.dtype}")
        if np.shape(self.costs) != shape[:1]:
            raise ConfigurationError(f"Expected {shape[0]} costs, got an array of shape {np.shape(self.costs)}")


def series_data(series: Series) -> dict[str, Any]:
    """Return what the page's script reads: arrays in base64, row after row, and the marks as steps of the slider.

    A mark becomes the first step at or above it, so that the page never shows a more lenient rule than was marked.
    """
    exits, samples = series.confidence.shape
    return {
        "exits": exits,
        "samples": samples,
        "confidence": _base64(series.confidence),
        "right": None if series.right is None else _base64(series.right.astype(np.uint8)),
        "costs": [float(cost) for cost in series.costs],
        "marks": [
            {"name": name, "value": float(value), "level": level_of(float(value))} for name, value in marks(series)
        ],
    }


def marks(series: Series) -> list[tuple[str, float]]:
    """Return names and thresholds that a slider from 0 to 1 can show."""
    found = [(str(name), float(value)) for name, value in series.marks.items()]
    return [(name, value) for name, value in found if 0 <= value <= 1]


def level_of(threshold: float) -> int:
    """Return the first of the slider's steps, 0 to 255, that is at least a threshold in [0, 1]."""
    return int(np.ceil(threshold * SLIDER_STEPS - 1e-6))  # 6 decimals: a mark that was a step stays that step


def _base64(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
