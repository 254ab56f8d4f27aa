"""The feature caches of a phase: planned, filled once, and found again by a run that resumes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.batches import WORKERS, Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.errors import OutputError
from shallowdeep.progress import Progress
from shallowdeep.sdn.folding import folded
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.training.feature_cache import CachePlan, FeatureCache, plan_cache, summarise_batches
from shallowdeep.training.sources import EVALUATION_BATCH

_TRAIN, _TUNE = "features-train.bin", "features-tune.bin"


@dataclass(frozen=True)
class Caching:
    """What caches depend on beside the network and the images.

    Attributes:
        directory: where they go.
        views: augmented copies of each training image.
        budget: bytes that they may take.
        seed: of the augmentation.
        precision: of the pass through the backbone, ``fp32`` or ``bf16``.
        workers: processes that decode images which are not held in memory; features do not depend on them.
    """

    directory: Path
    views: int
    budget: int
    seed: int
    precision: str
    workers: int = WORKERS


def plan_caches(
    network: ShallowDeepNetwork, data: DataSplits, wanted: Caching, progress: Progress
) -> tuple[CachePlan, CachePlan] | None:
    """Plans for ``train`` and ``tune``, of fewer views where more do not fit; None where features cannot be cached.

    Of several processes the first decides, since each may find another amount of free disk.
    """
    decided = [_plan(network, data, wanted, progress)]
    broadcast_object_list(decided)
    return decided[0]


def _plan(
    network: ShallowDeepNetwork, data: DataSplits, wanted: Caching, progress: Progress
) -> tuple[CachePlan, CachePlan] | None:
    shape, directory = data.preprocessing.shape, wanted.directory
    views = wanted.views if data.train.lengths is None else 1  # texts are not augmented
    tune = plan_cache(network, shape, len(data.tune), views=1, path=directory / _TUNE, budget=wanted.budget)
    left = wanted.budget - (tune.bytes if tune else 0)
    train = plan_cache(network, shape, len(data.train), views=views, path=directory / _TRAIN, budget=left)
    if train is None or tune is None:
        progress.say("Features cannot be cached (conv heads, or no room): training through the frozen backbone")
        return None
    if train.views < views:
        progress.say(
            f"Caching {train.views} of {views} augmented views: more do not fit "
            f"{wanted.budget / 2**30:.1f} GiB or the disk"
        )
    return train, tune


def planned_before(
    network: ShallowDeepNetwork, data: DataSplits, wanted: Caching, views: int, progress: Progress
) -> tuple[CachePlan, CachePlan] | None:
    """The plans of a run that resumes: as many views as it began with, 0 for none, however much room there is now.

    Raises:
        OutputError: there is no longer room for them.
    """
    if not views:
        return None
    plans = plan_caches(network, data, wanted, progress)
    if plans is None or plans[0].views < views:
        raise OutputError(
            f"Expected room in {wanted.directory} for the {views} cached views the run began with, got less"
        )
    return CachePlan(plans[0].shapes, plans[0].samples, views), plans[1]


def filled_caches(
    network: ShallowDeepNetwork,
    data: DataSplits,
    plans: tuple[CachePlan, CachePlan],
    wanted: Caching,
    accelerator: Accelerator,
    *,
    progress: Progress,
) -> tuple[FeatureCache, FeatureCache]:
    """Caches of ``train`` and ``tune`` with every view in them; views are shared out among processes.

    Raises:
        OutputError: the disk cannot hold them.
    """
    train = FeatureCache(wanted.directory / _TRAIN, plans[0])
    tune = FeatureCache(wanted.directory / _TUNE, plans[1])
    images = f"{data.fingerprints} {data.preprocessing}"
    known = f"{images} {_digest(network.backbone)} seed {wanted.seed} {wanted.precision}"
    if train.complete(known) and tune.complete(known):
        return train, tune
    accelerator.wait_for_everyone()  # before a file is made, every process has asked for the room there is
    if accelerator.is_main_process:
        train.create()
        tune.create()
    accelerator.wait_for_everyone()
    text = data.train.lengths is not None
    augmentation = None if text else get_augmentation(data.augmentation, data.preprocessing.size)
    total = plans[0].views * plans[0].samples + plans[1].samples
    inference = network
    if not text:  # the same but for rounding, and faster
        example = torch.randn(1, *data.preprocessing.shape, generator=torch.Generator().manual_seed(0))
        inference = folded(network, example.to(accelerator.device)).channels_last()
    passes = [(tune, data.tune, 0, None), *((train, data.train, view, augmentation) for view in range(plans[0].views))]
    with progress.start("caching features", "images", total) as bar:
        for cache, split, view, augmented in passes[accelerator.process_index :: accelerator.num_processes]:
            batches = Batches(
                split,
                data.preprocessing,
                EVALUATION_BATCH,
                augmentation=augmented,
                seed=wanted.seed,
                epoch=view,
                workers=wanted.workers,
            )
            cache.fill_view(view, summarise_batches(inference, batches, wanted.precision, bar))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        train.finish(known)
        tune.finish(known)
    return train, tune


def _digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        else:  # a module's extra state
            digest.update(repr(value).encode())
    return digest.hexdigest()
