"""What kinds of heads take of the static network's time in OpenVINO, where the paper's fractions put them.

    python benchmarks/heads.py results/benchmarks/heads.json [--models resnet56,vgg16] [--precisions bf16,int8]

All heads are attached to the network at once, and the runtime tells the time of each operation: see
`shallowdeep.bench.operation_times`. Run it on an otherwise idle machine. Models that the file holds already are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from shallowdeep.bench.exit_times import head_times
from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.machine import available_cores, this_machine
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import candidates
from shallowdeep.sdn.internal_classifier import HEADS, fast_candidates
from shallowdeep.sdn.placement import choose_places, default_fractions


def measured(name: str, precision: str, sizes: list[int]) -> list[dict[str, Any]]:
    """Shares of time of every kind of head at each exit, one row a batch size."""
    backbone, example = build(name, num_classes=10, image_size=32), torch.zeros(1, 3, 32, 32)
    cuts = candidates(backbone, example)
    cuts = [cuts[i] for i in choose_places(cuts, default_fractions(cuts))]
    parameters = sum(p.numel() for p in backbone.parameters())
    kinds = [(*HEADS, *fast_candidates(cut, parameters)) for cut in cuts]
    rows = []
    for size in sizes:
        times = head_times(backbone, example, cuts, kinds, precision=precision, batch_size=size)
        exits = [
            {
                "exit": cut.module,
                "shares": {kind: round(s / times.whole, 5) for kind, s in zip(there, each, strict=True)},
            }
            for cut, there, each in zip(cuts, kinds, times.seconds, strict=True)
        ]
        rows.append({"batch_size": size, "static_milliseconds": round(1e3 * times.whole, 4), "exits": exits})
        print(name, precision, size, f"{1e3 * times.whole:.3f} ms", file=sys.stderr)
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", default="resnet56,vgg16")
    parser.add_argument("--precisions", default="bf16,int8")
    parser.add_argument("--batch-sizes", default="1,8,64")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    known = json.loads(arguments.out.read_text())["networks"] if arguments.out.exists() else {}
    for name in arguments.models.split(","):
        known[name] = {precision: measured(name, precision, sizes) for precision in arguments.precisions.split(",")}
        document = {"machine": plain(this_machine(available_cores())), "runtime": "openvino", "networks": known}
        write_json(arguments.out, document)


if __name__ == "__main__":
    main()
