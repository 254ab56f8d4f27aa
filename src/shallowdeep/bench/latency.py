"""How long an engine takes for two kinds of inputs, taking turns: clean ones and such as were made to be slow."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shallowdeep.bench.workers import machine, paired_ratio
from shallowdeep.exits.arrays import Array, to_numpy
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.engine import EarlyExitEngine

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

BATCH_SIZES, ROUNDS = (1, 64), 15
_IMAGES_A_TURN = 64


@dataclass(frozen=True, eq=False)
class Timing:
    """What is timed, and how.

    Attributes:
        network: on its device.
        progress: told after each round.
        rounds: for each batch size.
    """

    network: ShallowDeepNetwork
    progress: Callable[[int], None]

    @property
    def rounds(self) -> int:
        """In all, for one policy."""
        return ROUNDS * len(BATCH_SIZES)

    @property
    def backend(self) -> str:
        """ONNX Runtime on a CPU that has it, else torch."""
        on_cpu = next(self.network.parameters()).device.type == "cpu"
        return "onnxruntime" if on_cpu and importlib.util.find_spec("onnxruntime") else "torch"

    def machine(self) -> dict[str, Any]:
        """What figures are measured on, and when."""
        import torch  # noqa: PLC0415 - for its number of threads and the name of a GPU

        device = next(self.network.parameters()).device
        gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
        return {**machine(torch.get_num_threads()), **gpu}


def respond(timing: Timing, policy: Policy, usual: Array, odd: Array) -> list[dict[str, Any]]:
    """Return how long a batch of each takes.

    Args:
        timing: what is timed.
        policy: in force.
        usual: (N, 3, S, S) normalised, torch.
        odd: likewise, the same images changed.

    Returns:
        For each batch size that N allows: ``batch_size``, ``clean_ms``, ``attacked_ms`` (medians over rounds) and
        ``ratio`` (attacked over clean, of the same round: ``median``, ``low``, ``high``).
    """
    engine = EarlyExitEngine(timing.network, policy, timing.backend)
    inputs = [to_numpy(images.contiguous()) if timing.backend == "onnxruntime" else images for images in (usual, odd)]
    found = []
    for size in BATCH_SIZES:
        if size > len(usual):
            continue
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(ROUNDS + 1):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                times[side].append(_seconds(engine, inputs[side], size, number))
            timing.progress(1 if number else 0)
        clean, attacked = times[0][1:], times[1][1:]  # the first round warms up
        found.append(
            {
                "batch_size": size,
                "clean_ms": 1e3 * float(np.median(clean)),
                "attacked_ms": 1e3 * float(np.median(attacked)),
                "ratio": paired_ratio(attacked, clean),
            }
        )
    return found


def _seconds(engine: EarlyExitEngine, images: Array, size: int, number: int) -> float:
    """Seconds a batch, over some batches in turn; the same images for both sides in one round."""
    count = max(1, _IMAGES_A_TURN // size)
    started = time.perf_counter()
    for turn in range(count):
        first = ((number * count + turn) * size) % (len(images) - size + 1)
        answers = engine(images[first : first + size])
        float(answers.confidences[0])  # waits for the device
    return (time.perf_counter() - started) / count
