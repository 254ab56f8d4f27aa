"""What a training step of ResNet-56 gains from compilation, fused updates, larger batches, smaller images, EMA.

    python benchmarks/step_speed.py [--rounds 20] [--profile]

Every variant does what `train --recipe joint` does on a CPU but for the one thing in its name; all take turns in one
process, step by step, on random images, which cost what real ones cost. Ratios are times per image: above 1 the
variant is faster than the default. With --profile the operators of the default step are listed by time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from paired import alternate, paired_ratio, publish
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert
from shallowdeep.training.hyperparameters import EVERYTHING, hyperparameters
from shallowdeep.training.losses import exit_loss, exit_weights
from shallowdeep.training.optimization import build_optimizer

BATCH, SIDE = 128, 32


@dataclass(frozen=True)
class Variant:
    """One way to do a step."""

    batch: int = BATCH
    side: int = SIDE
    precision: str = "bf16"
    channels_last: bool = True
    compiled: bool = False
    optimizer: str = ""  # the preset's
    fused: bool = False
    averaged: bool = False


VARIANTS = {
    "default": Variant(),
    "float32": Variant(precision="fp32"),
    "contiguous": Variant(channels_last=False),
    "torch.compile": Variant(compiled=True),
    "SGD": Variant(optimizer="sgd"),
    "fused SGD": Variant(optimizer="sgd", fused=True),
    "batch 64": Variant(batch=64),
    "batch 512": Variant(batch=512),
    "24 pixels": Variant(side=24),
    "EMA of the weights": Variant(averaged=True),
}


def stepper(variant: Variant) -> Callable[[], None]:
    """A function that does one training step."""
    torch.manual_seed(0)
    backbone = build("resnet56", num_classes=10, image_size=SIDE)
    network = convert(backbone, torch.zeros(1, 3, variant.side, variant.side)).train()
    images, labels = torch.randn(variant.batch, 3, variant.side, variant.side), torch.arange(variant.batch) % 10
    if variant.channels_last:
        network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, hyperparameters(EVERYTHING, "resnet56", optimizer=variant.optimizer))
    for group in optimizer.param_groups:
        if variant.fused:
            group["fused"] = True
    decay = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]  # torch leaves it so
    average = AveragedModel(network, multi_avg_fn=decay) if variant.averaged else None
    module = torch.compile(network) if variant.compiled else network
    weights = (*exit_weights([exit_.fraction for exit_ in network.exits[:-1]], 1, 12), 1.0)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.precision == "bf16"):
            logits = module(images)
        loss = exit_loss(logits, labels, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        optimizer.step()
        if average is not None:
            average.update_parameters(network)

    return step


def main() -> None:
    """Measure and publish, or profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    if arguments.profile:
        step = stepper(VARIANTS["default"])
        step()
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))
        return
    seconds = alternate({name: stepper(variant) for name, variant in VARIANTS.items()}, arguments.rounds, warmups=3)
    each = {name: [value / VARIANTS[name].batch for value in values] for name, values in seconds.items()}
    publish(
        "step-speed",
        {
            "what": "one joint training step of ResNet-56 with six internal classifiers; times per image",
            "default": "bfloat16 autocast, channels_last, batch 128, 32 pixels, Muon, eager",
            "images_per_second": {name: round(1 / sorted(v)[len(v) // 2], 1) for name, v in each.items()},
            "faster_than_default": {
                name: paired_ratio(each["default"], values) for name, values in each.items() if name != "default"
            },
        },
    )


if __name__ == "__main__":
    main()
