"""Resident memory of an engine that has met every size of batch, beside its static network: VGG-16, untrained.

    python benchmarks/engine_memory.py

Each side runs in a process of its own; counted is the largest resident set over what the process had before it opened
the bundle. All exits are used, none lets an image leave. The static network answers batches of 1, 8, 64 and 256.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import publish

from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.inference.backends.openvino_models import MEMORY_VARIABLE
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.precision import PRECISIONS, Precision
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import convert

SIDE = 32
UNLIMITED = 2**20  # MiB
SIDES = ("static", "engine, unlimited", "engine, 1 GiB")
MEASURED = """
import sys, numpy as np
from pathlib import Path
from shallowdeep.inference.backends.openvino_runtime import open_static
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.openvino_core import core

def resident(line):
    return next(int(row.split()[1]) for row in Path("/proc/self/status").read_text().splitlines() if row[:5] == line)

bundle = read_bundle(sys.argv[1], static=True)
core()
before = resident("VmRSS")
x = np.random.default_rng(0).normal(size=(256, 3, int(sys.argv[3]), int(sys.argv[3]))).astype(np.float32)
if sys.argv[2] == "static":
    static = open_static(bundle, None)
    for size in (1, 8, 64, 256):
        static(x[:size])
else:
    engine = EarlyExitEngine(bundle)
    engine.warm_up(256)
    for size in range(1, 257):
        engine(x[:size])
print((resident("VmHWM") - before) / 1024)
"""


def mebibytes(bundle: Path, side: str) -> float:
    """The memory of one side, in a process of its own that compiles anew."""
    limit = {} if side.endswith("1 GiB") else {MEMORY_VARIABLE: str(UNLIMITED)}
    environment = {**os.environ, "SHALLOWDEEP_CACHE": "off", **limit}
    command = [sys.executable, "-c", MEASURED, str(bundle), side, str(SIDE)]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Export at every precision, measure, write."""
    torch.manual_seed(0)
    network = convert(build("vgg16", num_classes=10, image_size=SIDE), torch.zeros(1, 3, SIDE, SIDE)).eval()
    images = np.random.default_rng(0).normal(size=(64, 3, SIDE, SIDE)).astype(np.float32)
    rows = dict[str, Any]()
    with tempfile.TemporaryDirectory() as directory:
        for name in PRECISIONS:
            precision = Precision(name, images if name == "int8" else None)
            policy = shared_threshold(NEVER, len(network.exits))
            bundle = write_bundle(network, policy, Path(directory) / name, "openvino", precision=precision)
            rows[name] = {side: mebibytes(bundle.path, side) for side in SIDES}
    publish("engine-memory", {"MiB": rows})


if __name__ == "__main__":
    main()
