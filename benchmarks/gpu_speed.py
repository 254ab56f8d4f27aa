"""What exits save on a GPU: the engine beside the static network, eager and as a CUDA graph, taking turns.

    python benchmarks/gpu_speed.py RUN --data DATA [--rounds 20] [--out OUT.json]

RUN has a policy. All workers compute in the same precision, on the same real test images, which lie on the device
already; a call ends when the device has finished. Ratios are paired by round. A small network leaves a GPU waiting for
the next kernel's start, so that the number of layers counts and not the number of images: a batch in which one image
needs the last exit takes as long as the static network. A CUDA graph starts all kernels at once, but wants a batch of a
fixed size. Every worker sees all images once before it is timed: the first batch of a size has its kernels chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import alternate, machine, paired_ratio
from torch import Tensor, nn

from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.data.load import load_dataset
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.files import write_json
from shallowdeep.inference.engine import EarlyExitEngine

BATCH_SIZES = (1, 64, 256, 1024, 4096)
MOST_WARMUPS = 500  # batches
WARMUPS = 3  # before a graph is captured


def captured(module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """The module as a CUDA graph for inputs like ``example``."""
    given = example.clone(memory_format=torch.preserve_format)
    side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(WARMUPS):
            module(given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        output: Tensor = module(given)

    def call(images: Tensor) -> Tensor:
        given.copy_(images)
        graph.replay()
        return output

    return call


def measured(engine: EarlyExitEngine, static: nn.Module, images: Tensor, size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of every worker for batches of ``size``, and how much faster the engine is than each."""
    graph = captured(static, images[:size])
    place = 0

    def batch() -> Tensor:
        return images[place : place + size]

    def ended(call: Callable[[Tensor], object]) -> Callable[[], None]:
        def run() -> None:
            call(batch())
            torch.cuda.synchronize()

        return run

    def eager(x: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = static(x)
        return logits

    workers: dict[str, Callable[[], object]] = {
        "engine": ended(engine),
        "static eager": ended(eager),
        "static CUDA graph": ended(graph),
    }
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(
        -min(len(images) // size, MOST_WARMUPS), rounds
    ):  # once through all images first: every shape has its kernels
        place = number % (len(images) // size) * size
        for name, values in alternate(workers, 1, warmups=0).items():
            seconds[name] += values if number >= 0 else []
    return {
        "batch_size": size,
        "milliseconds": {name: round(1e3 * float(np.median(values)), 3) for name, values in seconds.items()},
        "engine_faster_than": {
            name: paired_ratio(values, seconds["engine"]) for name, values in seconds.items() if name != "engine"
        },
    }


def main() -> None:
    """Measure, and print or write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    network = load(arguments.run).cuda().eval().to(memory_format=torch.channels_last)
    policy = read_policy(arguments.run / "policy.json", str(read_manifest(arguments.run).weights["sha256"]))
    if network.preprocessing is None:
        raise SystemExit("Expected a run that knows its preprocessing, got one without")
    test = load_dataset(arguments.data, image_size=network.preprocessing.size).test
    pixels, labels = test.fetch(np.arange(len(test)))
    images = network.preprocessing.normalize(pixels.cuda()).contiguous(memory_format=torch.channels_last)
    engine, static = EarlyExitEngine(network, policy), network.to_backbone().eval()
    answers = [engine(part) for part in torch.split(images, BATCH_SIZES[-1])]
    costs = torch.cat([torch.as_tensor(part.relative_costs) for part in answers])
    right = torch.cat([part.labels for part in answers]).cpu() == labels
    document = {
        "run": str(arguments.run), "exits": len(network.exits),
        "thresholds": list(policy.thresholds), "signal": policy.signal,
        "accuracy": float(right.float().mean()), "relative_cost": float(costs.double().mean()),
        "device": torch.cuda.get_device_name(), "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "batches": [measured(engine, static, images, size, arguments.rounds) for size in BATCH_SIZES],
        "machine": machine(),
    }  # fmt: skip
    if arguments.out:
        write_json(arguments.out, document)
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
