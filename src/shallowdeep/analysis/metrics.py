"""torchmetrics classes that accumulate overthinking and confusion over batches, devices and machines.

    overthinking = Overthinking(network.costs)
    for images, labels in batches:
        overthinking.update(network(images), labels)
    overthinking.compute()["wasteful"]

The figures are those of `analysis.overthinking` and `analysis.confusion_levels` on all batches together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from shallowdeep.errors import DataError
from shallowdeep.exits.confusion import ConfusionStatistics, confusion

_LOGITS_AXES = 3  # (E, B, C)


class Overthinking(Metric):
    """Wasteful and destructive overthinking.

    ``update`` takes logits (E, B, C) of all exits and labels (B,). ``compute`` returns scalars by name: ``wasteful``
    (share right before the last exit), ``wasteful_and_right`` (of these, also right at the end, as a share of all),
    ``oracle_cost``, ``oracle_accuracy``, ``accuracy`` (of the final exit), ``destructive`` (share of the final exit's
    errors that an earlier exit had right) and ``accuracy_gain`` (of an ideal stopping rule). What there are no samples
    or errors for is not a number.

    Args:
        costs: (E,) relative cost of each exit, the last the final one's.

    Source: Kaya, Hong, Dumitras, ICML 2019.
    """

    full_state_update = False
    table: Tensor
    costs: Tensor

    def __init__(self, costs: Sequence[float], **settings: Any) -> None:  # noqa: ANN401 - those of every Metric
        super().__init__(**settings)
        self.register_buffer("costs", torch.as_tensor(costs, dtype=torch.float64), persistent=False)
        empty = torch.zeros(len(self.costs) + 1, 2, dtype=torch.int64)
        self.add_state("table", default=empty, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Raises:
            DataError: shapes that do not go together.
        """
        exits = len(self.costs)
        _check(logits, labels, exits)
        right = logits.argmax(-1) == labels  # (E, B)
        first = torch.where(right.any(0), right.to(torch.uint8).argmax(0), exits)
        cells = 2 * first + right[-1]
        self.table += torch.bincount(cells, minlength=self.table.numel()).view_as(self.table)

    def compute(self) -> dict[str, Tensor]:
        """The figures, on the metric's device."""
        table = self.table.double()
        samples, errors = table.sum(), table[:, 0].sum()
        early = table[:-2].sum(0)  # first right before the last exit; wrong and right at the end
        cost_of_first = torch.cat([self.costs, self.costs[-1:]])  # where none is right all is computed
        return {
            "wasteful": early.sum() / samples,
            "wasteful_and_right": early[1] / samples,
            "oracle_cost": (table.sum(1) * cost_of_first).sum() / samples,
            "oracle_accuracy": table[:-1].sum() / samples,
            "accuracy": table[:, 1].sum() / samples,
            "destructive": early[0] / errors,
            "accuracy_gain": early[0] / samples,
        }


class Confusion(Metric):
    """Levels of confusion of right and of wrong answers of the final exit.

    ``update`` takes logits (E, B, C) of all exits and labels (B,). ``compute`` returns scalars by name: ``mean``,
    ``right_mean``, ``wrong_mean``, ``right_std``, ``wrong_std``; not a number where there are no such samples.

    Args:
        exits: E.
        statistics: of training data, for z-scores; None for values as they are.

    Raises:
        DataError: statistics of another number of exits.

    Source: Kaya, Hong, Dumitras, ICML 2019.
    """

    full_state_update = False
    moments: Tensor

    def __init__(
        self,
        exits: int,
        statistics: ConfusionStatistics | None = None,
        **settings: Any,  # noqa: ANN401 - those of every Metric
    ) -> None:
        super().__init__(**settings)
        if statistics is not None and statistics.exits != exits:
            raise DataError(f"Expected confusion statistics of {exits} exits, got {statistics.exits}")
        self.exits, self.statistics = exits, statistics
        empty = torch.zeros(2, 3, dtype=torch.float64)  # wrong and right: count, sum, sum of squares
        self.add_state("moments", default=empty, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Raises:
            DataError: shapes that do not go together.
        """
        _check(logits, labels, self.exits)
        values = confusion(logits.float()).double()
        if self.statistics is not None:
            values = self.statistics.normalised(values, self.exits - 1, range(self.exits - 1))
        right = (logits[-1].argmax(-1) == labels).to(torch.float64)
        for row, chosen in enumerate((1 - right, right)):
            self.moments[row] += torch.stack([chosen.sum(), (chosen * values).sum(), (chosen * values**2).sum()])

    def compute(self) -> dict[str, Tensor]:
        """The figures, on the metric's device."""
        counts, sums, squares = self.moments.unbind(1)
        means = sums / counts
        spreads = (squares / counts - means**2).clamp(min=0).sqrt()
        return {
            "mean": sums.sum() / counts.sum(),
            "wrong_mean": means[0],
            "right_mean": means[1],
            "wrong_std": spreads[0],
            "right_std": spreads[1],
        }


def _check(logits: Tensor, labels: Tensor, exits: int) -> None:
    if logits.ndim != _LOGITS_AXES or len(logits) != exits or labels.shape != logits.shape[1:2]:
        raise DataError(
            f"Expected logits ({exits}, B, C) and labels (B,), got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
