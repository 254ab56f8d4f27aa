"""Joint training, ResNet-56: images per second of what `train` does against float32 in contiguous memory.

    python benchmarks/joint_speed.py --data ../shared/data/cifar10

Both run in one process, step by step in turn, on the same batches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from paired import alternate, paired_ratio, publish
from torch import Tensor

from shallowdeep.data.augmentation import get_augmentation
from shallowdeep.data.batches import Batches
from shallowdeep.data.load import load_dataset
from shallowdeep.models.registry import build
from shallowdeep.runtime import pick_precision
from shallowdeep.sdn.convert import convert
from shallowdeep.training.hyperparameters import EVERYTHING, hyperparameters
from shallowdeep.training.losses import exit_loss, exit_weights
from shallowdeep.training.optimization import build_optimizer

BATCH = 128


def stepper(batches: list[tuple[Tensor, Tensor]], *, fast: bool) -> Callable[[], None]:
    """A function that does one training step on the next batch; ``fast`` as `train` does it, else plainly."""
    torch.manual_seed(0)
    network = convert(build("resnet56", num_classes=10, image_size=32), torch.zeros(1, 3, 32, 32)).train()
    if fast:
        network.to(memory_format=torch.channels_last)
    precision = pick_precision("auto", torch.device("cpu")) if fast else "fp32"
    optimizer = build_optimizer(network, hyperparameters(EVERYTHING, "resnet56"))
    weights = (*exit_weights([exit_.fraction for exit_ in network.exits[:-1]], 1, 12), 1.0)
    turn = 0

    def step() -> None:
        nonlocal turn
        images, labels = batches[turn % len(batches)]
        turn += 1
        images = images if fast else images.contiguous()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        loss = exit_loss(logits, labels, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        optimizer.step()

    return step


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    data = load_dataset(arguments.data, image_size=32)
    data.train.prepare()
    augmentation = get_augmentation(data.augmentation, 32)
    source = iter(Batches(data.train, data.preprocessing, BATCH, shuffle=True, augmentation=augmentation))
    batches, waits = [], []
    for _ in range(20):
        started = time.perf_counter()
        batches.append(next(source))
        waits.append(time.perf_counter() - started)
    seconds = alternate(
        {"plain": stepper(batches, fast=False), "ours": stepper(batches, fast=True)}, arguments.rounds, warmups=3
    )
    medians = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    wait = sorted(waits)[len(waits) // 2]
    publish(
        "joint-speed",
        {
            "what": "one joint training step of ResNet-56 with six internal classifiers, batch 128, 32x32 images",
            "variants": {"plain": "float32, contiguous", "ours": "bfloat16 autocast, channels_last"},
            "images_per_second": {name: round(BATCH / value, 1) for name, value in medians.items()},
            "speedup": paired_ratio(seconds["plain"], seconds["ours"]),
            "input_pipeline": {"ms_per_batch": 1000 * wait, "share_of_our_step": wait / medians["ours"], "goal": 0.03},
        },
    )


if __name__ == "__main__":
    main()
