"""`ic-only` on cached features against the plain loop, ResNet-56 on CIFAR-10: time, and equal accuracies.

    python benchmarks/ic_only_speed.py time     --data ../shared/data/cifar10 --init results/cifar10-resnet56/backbone
    python benchmarks/ic_only_speed.py accuracy --data ../shared/data/cifar10 --init results/cifar10-resnet56/backbone

The plain loop is what one writes without a cache: the whole network forward at each step, float32, a fresh
augmentation each epoch. `time` lets some of its steps take turns with our whole training, caching included, and
extrapolates to 25 epochs. `accuracy` runs both for 25 epochs on 10,000 images, with several seeds and numbers of
cached views, chooses that number on images held out from the heads, and compares on the test split.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from paired import publish

from shallowdeep.analysis.accuracy import exit_accuracies
from shallowdeep.checkpoint import load
from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.load import load_dataset
from shallowdeep.data.splits import Indices
from shallowdeep.progress import SILENT, Bar, Progress, Silent
from shallowdeep.runtime import pick_precision, seed_everything
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.training.cached_heads import HeadCaching
from shallowdeep.training.caching import Caching
from shallowdeep.training.hyperparameters import HEADS, hyperparameters
from shallowdeep.training.losses import exit_loss
from shallowdeep.training.optimization import build_optimizer, set_learning_rate
from shallowdeep.training.recipes import Phase
from shallowdeep.training.run import Training, train
from shallowdeep.training.sources import SplitSource

EPOCHS = 25
GOAL = 0.5  # points
OUR_TURN = 3.0  # seconds
PLAIN_STEPS = 20  # in a turn: two epochs of them in all, or more
SETTINGS = hyperparameters(HEADS, "resnet56")
Accuracies = NDArray[np.float64]


def fresh(init: str, seed: int = 0) -> ShallowDeepNetwork:
    """The saved backbone with untrained internal classifiers, the same each time for a seed."""
    saved = load(init)
    seed_everything(seed)
    network = convert(saved.to_backbone(), torch.zeros(1, 3, 32, 32))
    network.preprocessing, network.classes = saved.preprocessing, saved.classes
    return network.freeze_backbone()


def ours(
    init: str,
    data: DataSplits,
    seed: int = 0,
    views: int = SETTINGS.views,
    *,
    progress: Progress = SILENT,
) -> ShallowDeepNetwork:
    """Trained by `train`."""
    network = fresh(init, seed)
    settings = replace(SETTINGS, views=views)
    with tempfile.TemporaryDirectory() as directory:
        precision = pick_precision("auto", torch.device("cpu"))
        caching = HeadCaching(data, Caching(Path(directory), views, 8 * 2**30, seed, precision))
        training = Training(
            network, SplitSource(data, seed), Path(directory), seed, precision, Accelerator(cpu=True), progress, caching
        )
        train(training, [Phase("ic-only", HEADS, settings)])
    return network


class PlainLoop:
    """The loop without a cache."""

    def __init__(self, init: str, data: DataSplits, seed: int = 0, *, channels_last: bool = False) -> None:
        self.network, self.data, self.seed = fresh(init, seed), data, seed
        self.channels_last = channels_last
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.network, SETTINGS)
        self.weights = [*[1.0] * (len(self.network.exits) - 1), 0.0]

    def steps(self, number: int) -> Iterator[None]:
        """One epoch, counted from 0, a step at a time."""
        set_learning_rate(self.optimizer, SETTINGS.learning_rate * SETTINGS.schedule.multiplier(number / EPOCHS))
        self.network.train()
        batches = Batches(
            self.data.train, self.data.preprocessing, SETTINGS.batch_size, shuffle=True, seed=self.seed,
            epoch=number, drop_last=True, channels_last=self.channels_last,
            augmentation=get_augmentation(self.data.augmentation, 32),
        )  # fmt: skip
        for images, labels in batches:
            loss = exit_loss(self.network(images), labels, self.weights)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            self.optimizer.step()
            yield

    def epoch(self, number: int) -> None:
        """One epoch, counted from 0."""
        for _ in self.steps(number):
            pass


class TakingTurns(Silent):
    """Interrupts our training every few seconds for some steps of the plain loop, and keeps both times apart.

    The machine's speed drifts by a factor within minutes; so both see the same drift.
    """

    def __init__(self, plain: PlainLoop) -> None:
        self._plain = (None for number in itertools.count() for _ in plain.steps(number))
        self.ours: list[float] = []
        self.plain: list[float] = []
        self._since = time.perf_counter()

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> Bar:
        """Bars whose every step may be a turn."""
        del what, unit, total, done
        return _Turn(self)

    def take(self) -> None:
        """Take a turn, if it is time."""
        if time.perf_counter() - self._since < OUR_TURN:
            return
        self.ended()
        started = time.perf_counter()
        with torch.enable_grad():
            for _ in range(PLAIN_STEPS):
                next(self._plain)
        self.plain.append(time.perf_counter() - started)
        self._since = time.perf_counter()

    def ended(self) -> None:
        """Our turn is over."""
        self.ours.append(time.perf_counter() - self._since)


class _Turn:
    """A bar that gives the plain loop its turns."""

    def __init__(self, turns: TakingTurns) -> None:
        self._turns = turns

    def advance(self, count: int = 1, note: str = "") -> None:
        """One step of ours is done."""
        del count, note
        self._turns.take()

    def finish(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def measure_time(init: str, data: DataSplits) -> None:
    """Publish the total of our training against 25 epochs of the plain loop."""
    turns = TakingTurns(PlainLoop(init, data))
    ours(init, data, progress=turns)
    turns.ended()
    steps = EPOCHS * (len(data.train) // SETTINGS.batch_size)
    our_seconds, plain = np.asarray(turns.ours), np.asarray(turns.plain)
    generator = np.random.default_rng(0)
    picks = generator.integers(len(plain), size=(10_000, len(plain)))
    scale = steps / PLAIN_STEPS / (our_seconds.sum() / our_seconds[: len(plain)].mean())
    ratios = scale * plain[picks].mean(axis=1) / our_seconds[picks].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    plain_total = float(steps * plain.mean() / PLAIN_STEPS)
    publish(
        "ic-only-speed",
        {
            "what": f"ic-only, ResNet-56, {EPOCHS} epochs, {len(data.train)} images of {data.name}",
            "plain_steps": {"timed": len(plain) * PLAIN_STEPS, "in_all": steps},
            "plain_total_seconds": round(plain_total, 1),
            "plain_total_is": f"extrapolated from {len(plain)} turns of {PLAIN_STEPS} steps, spread over our training",
            "our_total_seconds": round(float(our_seconds.sum()), 1),
            "our_total_is": f"caching {SETTINGS.views} augmented views and tune, 25 epochs with tune accuracy, saving",
            "speedup": plain_total / float(our_seconds.sum()),
            "speedup_interval": [float(low), float(high)],
        },
    )


def unseen(data: DataSplits, part: Indices, count: int) -> ImageSplit:
    """``tune`` is small, so here are training images that no head was trained on, to choose the number of views by."""
    rest = np.setdiff1d(np.arange(len(data.train)), part)
    return data.train.subset(rest[:: math.ceil(len(rest) / count)])


def accuracies(network: ShallowDeepNetwork, split: ImageSplit, data: DataSplits) -> Accuracies:
    """Of the internal classifiers, in per cent."""
    fractions = exit_accuracies(predict_exits(network, Batches(split, data.preprocessing, 250)))
    return 100 * np.asarray(fractions, dtype=np.float64)[:-1]


def compare_accuracy(init: str, data: DataSplits, images: int, seeds: list[int], views: list[int]) -> None:
    """Publish how far heads on cached views fall behind the plain loop's, by number of views.

    The number is chosen where no head learned and nothing is reported: the fewest views whose gaps, averaged over
    seeds, stay within the goal on ``tune`` and unseen training images together. Test is read once, for that number.
    """
    every = len(data.train) // images
    chosen = np.arange(0, every * images, every)
    small = replace(data, train=data.train.subset(chosen))
    held_out = {"tune": data.tune, "unseen": unseen(data, chosen, images)}
    networks: dict[tuple[int, int], ShallowDeepNetwork] = {}
    for seed in seeds:
        plain = PlainLoop(init, small, seed, channels_last=True)  # faster, and the same but for rounding
        for number in range(EPOCHS):
            plain.epoch(number)
        networks[seed, 0] = plain.network
        for count in views:
            networks[seed, count] = ours(init, small, seed, count)
    gaps: dict[int, dict[str, list[float]]] = {}
    for count in views:
        gaps[count] = {
            name: mean_gaps(
                [accuracies(networks[seed, count], split, data) for seed in seeds],
                [accuracies(networks[seed, 0], split, data) for seed in seeds],
            )
            for name, split in held_out.items()
        }
    sizes = {name: len(split) for name, split in held_out.items()}
    fitting = [count for count in views if largest(pooled(gaps[count], sizes)) <= GOAL]
    picked = fitting[0] if fitting else views[-1]
    on_test = {
        name: [accuracies(networks[seed, count], data.test, data) for seed in seeds]
        for name, count in (("ours", picked), ("plain", 0))
    }
    publish(
        "ic-only-accuracy",
        {
            "what": f"ic-only, ResNet-56, {EPOCHS} epochs on {len(chosen)} images of {data.name}; seeds {seeds}",
            "backbone": init,
            "held_out_images": sizes,
            "held_out_gap_points": {str(count): named for count, named in gaps.items()},
            "views_chosen": picked,
            "held_out_goal_met": bool(fitting),
            "chosen_by": f"fewest whose held-out gaps, over both parts and all seeds, are within {GOAL}",
            "test_images": len(data.test),
            "test_accuracy": {name: [np.round(v, 2).tolist() for v in values] for name, values in on_test.items()},
            "gap_points": mean_gaps(on_test["ours"], on_test["plain"]),
            "largest_gap_points": largest(mean_gaps(on_test["ours"], on_test["plain"])),
            "plain_seeds_differ_by_up_to": round(float(np.ptp(np.stack(on_test["plain"]), axis=0).max()), 2),
            "goal_points": GOAL,
        },
    )


def mean_gaps(mine: list[Accuracies], plain: list[Accuracies]) -> list[float]:
    """Ours minus the plain loop's, of each internal classifier, averaged over seeds."""
    return [round(float(gap), 3) for gap in np.mean(np.stack(mine) - np.stack(plain), axis=0)]


def pooled(gaps: dict[str, list[float]], sizes: dict[str, int]) -> list[float]:
    """Gaps on all held-out images together."""
    means = np.average([gaps[name] for name in sizes], axis=0, weights=list(sizes.values()))
    return [float(gap) for gap in means]


def largest(gaps: list[float]) -> float:
    """The largest in absolute value."""
    return round(max(abs(gap) for gap in gaps), 3)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["time", "accuracy"])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--init", default="results/cifar10-resnet56/backbone")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--views", type=int, nargs="+", default=[4, 6, 8])
    arguments = parser.parse_args()
    data = load_dataset(arguments.data, image_size=32, preprocessing=load(arguments.init).preprocessing)
    data.train.prepare()
    if arguments.what == "time":
        measure_time(arguments.init, data)
    else:
        compare_accuracy(arguments.init, data, arguments.images, arguments.seeds, sorted(arguments.views))


if __name__ == "__main__":
    main()
