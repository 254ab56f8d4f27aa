"""Heads on a frozen backbone, trained on features that are computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelerate import Accelerator

from shallowdeep.data.data_splits import DataSplits
from shallowdeep.progress import Progress
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.caching import Caching, filled_caches, plan_caches, planned_before
from shallowdeep.training.hyperparameters import Hyperparameters
from shallowdeep.training.sources import SplitSource
from shallowdeep.training.tasks import CachedHeadsTask, tune_accuracies


@dataclass(frozen=True)
class HeadCaching:
    """Makes the task of training heads on cached features.

    Attributes:
        data: the splits whose images' features are cached.
        wanted: where they go, how much room they may take, and how they are made.
    """

    data: DataSplits
    wanted: Caching

    def task(
        self,
        network: ShallowDeepNetwork,
        settings: Hyperparameters,
        begun: int | None,
        accelerator: Accelerator,
        progress: Progress,
    ) -> tuple[CachedHeadsTask, int] | None:
        """Return the task and the number of views in its cache; None where features cannot be cached.

        Args:
            network: its internal classifiers are trained.
            settings: batch size, and views wanted.
            begun: views that a training which resumes began with (0 for none); None for one that begins.
            accelerator: one process or many, which share the work of filling the cache.
            progress: told how far filling is.

        Raises:
            OutputError: no room on the disk for the views a training began with.
        """
        wanted = replace(self.wanted, views=settings.views)
        if begun is None:
            plans = plan_caches(network, self.data, wanted, progress)
        else:
            plans = planned_before(network, self.data, wanted, begun, progress)
        if plans is None:
            return None
        train, tune = filled_caches(network, self.data, plans, wanted, accelerator, progress=progress)
        source = SplitSource(self.data, wanted.seed, wanted.workers)
        final = tune_accuracies(network, source, wanted.precision)[-1]
        task = CachedHeadsTask(
            network, train, tune, batch_size=settings.batch_size, seed=wanted.seed, final_accuracy=final
        )  # fmt: skip
        return task, plans[0].views
