"""What else might make a short training better: resnet20 alone on 10,000 CIFAR-10 images, one thing changed at a time.

    python benchmarks/schedule_trials.py DATA OUT.json [--seeds 3] [--only NAME ...]
    python benchmarks/schedule_trials.py --table OUT.json

Each trial trains as `train --recipe backbone --epochs 8` does (Muon, one cycle, flips, 2-pixel crop) but for the one
thing in its name, and is evaluated on 10,000 other *training* images: the test split is not touched. What these trials
change is no option of the product unless it helped. Trials are added to OUT.json when they are done.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from budgets import difference
from screening import HELD_OUT, TRAIN, subset
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.data.augmentation import AUGMENTATIONS
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.load import load_dataset
from shallowdeep.files import write_json
from shallowdeep.models.registry import build
from shallowdeep.runtime import seed_everything
from shallowdeep.training.hyperparameters import BACKBONE, Hyperparameters, OneCycle, Steps, hyperparameters
from shallowdeep.training.optimization import build_optimizer, set_learning_rate

EPOCHS = 8
EARLY, MIDDLE = 0.4, 0.7  # shares of training with images of 24 and of 28 pixels, where resolution grows


@dataclass(frozen=True)
class Trial:
    """How a training differs.

    Attributes:
        settings: of the optimiser and its schedule.
        ema: decay of averaged weights that are evaluated instead; 0 for none.
        alternating: mirror each image in every other epoch instead of at random.
        growing: begin with smaller images.
    """

    settings: Hyperparameters
    ema: float = 0.0
    alternating: bool = False
    growing: bool = False


def trials() -> dict[str, Trial]:
    """All of them by name."""
    short = replace(hyperparameters(BACKBONE, "resnet20"), epochs=EPOCHS)
    default = Trial(short)
    return {
        "default": default,
        "EMA .99": replace(default, ema=0.99),
        "alternating flip": replace(default, alternating=True),
        "growing resolution": replace(default, growing=True),
        "growing resolution, 10 epochs": replace(default, growing=True, settings=replace(short, epochs=10)),
        "batch 64": Trial(replace(short, batch_size=64)),
        "batch 256": Trial(replace(short, batch_size=256)),
        "batch 512, rate .1": Trial(replace(short, batch_size=512, learning_rate=0.1)),
        "rate .01": Trial(replace(short, learning_rate=0.01)),
        "rate .1": Trial(replace(short, learning_rate=0.1)),
        "steps instead of one cycle": Trial(replace(short, schedule=Steps((0.35, 0.60, 0.85)))),
        "shorter warm-up": Trial(replace(short, schedule=OneCycle(0.1))),
    }


def mirrored(images: Tensor, places: Tensor, epoch: int) -> Tensor:
    """Images (B, 3, S, S) flipped by their places in the split (B,) and the epoch."""
    first = torch.rand(TRAIN, generator=torch.Generator().manual_seed(7)) < 0.5  # noqa: PLR2004 - half of them
    flips = first[places] ^ bool(epoch % 2)
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def side_at(done: float) -> int:
    """Pixels of the images when ``done`` in [0, 1] of a training with growing resolution is done."""
    return 24 if done < EARLY else 28 if done < MIDDLE else 32


def train(trial: Trial, data: DataSplits, seed: int) -> tuple[nn.Module, float]:
    """The trained network, and the seconds its steps took."""
    seed_everything(seed)
    settings = trial.settings
    network = build("resnet20", num_classes=10, image_size=32).to(memory_format=torch.channels_last).train()
    averaged = copy.deepcopy(network)
    optimizer = build_optimizer(network, settings)
    augmentation = AUGMENTATIONS["light"]
    if trial.alternating:
        augmentation = replace(augmentation, flip=False)
    steps = len(data.train) // settings.batch_size
    done, started = 0, time.perf_counter()
    for epoch in range(settings.epochs):
        options: dict[str, Any] = {"shuffle": True, "seed": seed, "epoch": epoch, "drop_last": True}
        batches = Batches(data.train, data.preprocessing, settings.batch_size, augmentation=augmentation, **options)
        order = torch.from_numpy(batches._order())  # noqa: SLF001 - which image is which
        for number, (images, labels) in enumerate(batches):
            share = done / (steps * settings.epochs)
            set_learning_rate(optimizer, settings.learning_rate * settings.schedule.multiplier(share))
            if trial.alternating:
                first = number * settings.batch_size
                images = mirrored(images, order[first : first + len(images)], epoch)  # noqa: PLW2901
            if trial.growing and side_at(share) < images.shape[-1]:
                images = F.interpolate(images, (side_at(share),) * 2, mode="bilinear", antialias=True)  # noqa: PLW2901
            images = images.contiguous(memory_format=torch.channels_last)  # noqa: PLW2901
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(images)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            optimizer.step()
            done += 1
            if trial.ema:
                average(averaged, network, min(trial.ema, (done + 1) / (done + 10)))
    return averaged if trial.ema else network, time.perf_counter() - started


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights and statistics towards the network's."""
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)


@torch.no_grad()
def accuracy(network: nn.Module, data: DataSplits) -> float:
    """On the images held out."""
    network.eval()
    right = sum(
        int((network(images).argmax(-1) == labels).sum())
        for images, labels in Batches(data.test, data.preprocessing, 250)
    )
    return right / HELD_OUT


def table(results: list[dict[str, Any]]) -> str:
    """Means over seeds, and differences from the default on the same seeds with their standard errors."""
    found = {(result["trial"], result["seed"]): result for result in results}
    lines = ["| trial | seeds | accuracy, % | against default | seconds, share of default's |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(result["trial"] for result in results):
        mine = [result for result in results if result["trial"] == name]
        pairs = [(one, found["default", one["seed"]]) for one in mine if ("default", one["seed"]) in found]
        apart = [100 * (one["accuracy"] - other["accuracy"]) for one, other in pairs]
        share = statistics.mean(one["seconds"] / other["seconds"] for one, other in pairs) if pairs else 1.0
        mean = 100 * statistics.mean(one["accuracy"] for one in mine)
        against = "" if name == "default" or not apart else difference(apart)
        lines.append(f"| {name} | {len(mine)} | {mean:.1f} | {against} | {share:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the trials, or print the table of those that were run."""
    known = trials()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=known, default=list(known))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    if arguments.table:
        print(table(results))
        return
    done = {(result["trial"], result["seed"]) for result in results}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "cifar10")
        subset(arguments.data, folder)
        for seed, name in product(range(arguments.seeds), arguments.only):
            if (name, seed) in done:
                continue
            data = load_dataset(str(folder), image_size=32, seed=seed)
            data.train.prepare()
            network, seconds = train(known[name], data, seed)
            result = {"trial": name, "seed": seed, "seconds": round(seconds, 1), "accuracy": accuracy(network, data)}
            results.append(result)
            write_json(arguments.out, results)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
