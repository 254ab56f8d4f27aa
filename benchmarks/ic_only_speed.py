"""`ic-only` on cached features against the plain loop, ResNet-56 on CIFAR-10: time, and equal accuracies.

    python benchmarks/ic_only_speed.py time     --data ../shared/data/cifar10 --init results/cifar10-resnet56/backbone
    python benchmarks/ic_only_speed.py accuracy --data ../shared/data/cifar10 --init results/cifar10-resnet56/backbone

The plain loop is what one writes without a cache: the whole network forward at each step, float32, a fresh
augmentation each epoch. `time` measures one of its epochs before and one after our whole training, caching
included, and extrapolates to 25. `accuracy` runs both for 25 epochs on 10,000 images and compares on the test split.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from paired import publish

from shallowdeep.analysis.accuracy import exit_accuracies
from shallowdeep.checkpoint import Architecture, load
from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.load import DataSplits, load_dataset
from shallowdeep.data.loading import Batches
from shallowdeep.runtime import pick_precision, seed_everything
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.training.losses import weighted_loss
from shallowdeep.training.observer import SilentObserver
from shallowdeep.training.optimization import build_optimizer, set_learning_rate
from shallowdeep.training.recipes import hyperparameters
from shallowdeep.training.run import Phase, train

EPOCHS = 25
SETTINGS = hyperparameters("ic-only", "resnet56")


def fresh(init: str) -> ShallowDeepNetwork:
    """The saved backbone with untrained internal classifiers, the same each time."""
    saved = load(init)
    seed_everything(0)
    network = convert(saved.to_backbone(), torch.zeros(1, 3, 32, 32))
    network.preprocessing, network.classes = saved.preprocessing, saved.classes
    return network.freeze_backbone()


def ours(init: str, data: DataSplits) -> ShallowDeepNetwork:
    """Trained by `train`."""
    network = fresh(init)
    with tempfile.TemporaryDirectory() as directory:
        train(
            network, data, [Phase("ic-only", SETTINGS)], Path(directory), Architecture("resnet56", 10, 32),
            seed=0, precision=pick_precision("auto", torch.device("cpu")), cache_budget=8 * 2**30, weights_dtype="fp32",
            accelerator=Accelerator(cpu=True), observer=SilentObserver(),
        )  # fmt: skip
    return network


class PlainLoop:
    """The loop without a cache."""

    def __init__(self, init: str, data: DataSplits) -> None:
        self.network, self.data = fresh(init), data
        self.optimizer = build_optimizer(self.network, SETTINGS)
        self.weights = [*[1.0] * (len(self.network.exits) - 1), 0.0]

    def epoch(self, number: int) -> None:
        """One epoch, counted from 0."""
        set_learning_rate(self.optimizer, SETTINGS.learning_rate * SETTINGS.schedule.multiplier(number / EPOCHS))
        self.network.train()
        batches = Batches(
            self.data.train, self.data.preprocessing, SETTINGS.batch_size, shuffle=True, epoch=number, drop_last=True,
            augmentation=get_augmentation(self.data.augmentation, 32), channels_last=False,
        )  # fmt: skip
        for images, labels in batches:
            loss = weighted_loss(self.network(images), labels, self.weights)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            self.optimizer.step()


def measure_time(init: str, data: DataSplits) -> None:
    """Publish the total of our training against 25 epochs of the plain loop."""
    plain = PlainLoop(init, data)
    seconds = []
    for turn in range(2):
        started = time.perf_counter()
        plain.epoch(turn)
        seconds.append(time.perf_counter() - started)
        if turn == 0:
            started = time.perf_counter()
            ours(init, data)
            our_seconds = time.perf_counter() - started
    plain_total = EPOCHS * sum(seconds) / len(seconds)
    publish(
        "ic-only-speed",
        {
            "what": f"ic-only, ResNet-56, {EPOCHS} epochs, {len(data.train)} images of {data.name}",
            "plain_epoch_seconds": [round(value, 1) for value in seconds],
            "plain_total_seconds": round(plain_total, 1),
            "plain_total_is": "extrapolated from the two epochs, one before and one after ours",
            "our_total_seconds": round(our_seconds, 1),
            "our_total_is": f"caching {SETTINGS.views} augmented views and tune, 25 epochs with tune accuracy, saving",
            "speedup": plain_total / our_seconds,
            "speedup_by_epoch": [EPOCHS * value / our_seconds for value in sorted(seconds)],
        },
    )


def compare_accuracy(init: str, data: DataSplits, images: int) -> None:
    """Publish both ways' test accuracies after training on the same ``images`` images."""
    every = len(data.train) // images
    part = data.train.subset(np.arange(0, every * images, every))
    small = replace(data, train=part)
    mine = ours(init, small)
    plain = PlainLoop(init, small)
    for number in range(EPOCHS):
        plain.epoch(number)
    accuracies = {
        name: exit_accuracies(predict_exits(network, Batches(data.test, data.preprocessing, 250)))
        for name, network in (("ours", mine), ("plain", plain.network))
    }
    gaps = accuracies["ours"] - accuracies["plain"]
    publish(
        "ic-only-accuracy",
        {
            "what": f"ic-only, ResNet-56, {EPOCHS} epochs on {len(part)} images of {data.name}",
            "test_images": len(data.test),
            "test_accuracy": {name: [round(float(v), 4) for v in values] for name, values in accuracies.items()},
            "gap_points": [round(100 * float(v), 2) for v in gaps],
            "largest_gap_points": round(100 * float(np.abs(gaps).max()), 2),
            "goal_points": 0.5,
        },
    )


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["time", "accuracy"])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--init", default="results/cifar10-resnet56/backbone")
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    data = load_dataset(arguments.data, image_size=32, preprocessing=load(arguments.init).preprocessing)
    data.train.prepare()
    if arguments.what == "time":
        measure_time(arguments.init, data)
    else:
        compare_accuracy(arguments.init, data, arguments.images)


if __name__ == "__main__":
    main()
