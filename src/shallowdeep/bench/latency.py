"""How long an engine takes for clean and for adversarial inputs, timed in turn."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shallowdeep.bench.workers import PairedRatio, paired_ratio
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.machine import Machine, this_machine
from shallowdeep.progress import Bar

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

BATCH_SIZES, ROUNDS = (1, 64), 15
TIMING_ROUNDS = ROUNDS * len(BATCH_SIZES)  # in all, for one policy
_IMAGES_A_TURN = 64


@dataclass(frozen=True, eq=False)
class Timing:
    """What is timed, and how.

    Attributes:
        network: on its device.
        bar: moved by each round.
    """

    network: ShallowDeepNetwork
    bar: Bar

    @property
    def backend(self) -> str:
        """ONNX Runtime on a CPU that has it, else torch."""
        on_cpu = next(self.network.parameters()).device.type == "cpu"
        return "onnxruntime" if on_cpu and importlib.util.find_spec("onnxruntime") else "torch"

    def machine(self) -> Machine:
        """What figures are measured on, and when."""
        import torch  # noqa: PLC0415 - for its number of threads and the name of a GPU

        device = next(self.network.parameters()).device
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        return this_machine(torch.get_num_threads(), gpu)


@dataclass(frozen=True)
class Latency:
    """How long the engine takes for a batch of each kind of input.

    Attributes:
        batch_size: of the inputs.
        clean_ms: milliseconds a batch of clean inputs, median over rounds.
        attacked_ms: the same of adversarial inputs.
        ratio: attacked over clean.
    """

    batch_size: int
    clean_ms: float
    attacked_ms: float
    ratio: PairedRatio


def latency(timing: Timing, policy: Policy, clean: Array, adversarial: Array) -> tuple[Latency, ...]:
    """Return how long a batch of each takes.

    Args:
        timing: what is timed.
        policy: in force.
        clean: (N, 3, S, S) normalised, torch.
        adversarial: likewise, the same images changed.

    Returns:
        One for each batch size that N allows.
    """
    engine = EarlyExitEngine(timing.network, policy, timing.backend)
    inputs = [
        to_numpy(images.contiguous()) if timing.backend == "onnxruntime" else images for images in (clean, adversarial)
    ]
    found = []
    for size in BATCH_SIZES:
        if size > len(clean):
            continue
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(ROUNDS + 1):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                times[side].append(_seconds(engine, inputs[side], size, number))
            timing.bar.advance(1 if number else 0)
        clean_times, attacked_times = times[0][1:], times[1][1:]  # the first round warms up
        found.append(
            Latency(
                batch_size=size,
                clean_ms=1e3 * float(np.median(clean_times)),
                attacked_ms=1e3 * float(np.median(attacked_times)),
                ratio=paired_ratio(attacked_times, clean_times),
            )
        )
    return tuple(found)


def _seconds(engine: EarlyExitEngine, images: Array, size: int, number: int) -> float:
    """Seconds a batch, over some batches in turn; the same images for both sides in one round."""
    count = max(1, _IMAGES_A_TURN // size)
    started = time.perf_counter()
    for turn in range(count):
        first = ((number * count + turn) * size) % (len(images) - size + 1)
        answers = engine(images[first : first + size])
        float(answers.confidences[0])  # waits for the device
    return (time.perf_counter() - started) / count
