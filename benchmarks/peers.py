"""The same network in other hands: earlyon, and the static network in four runtimes, beside our engine.

    pip install earlyon==0.3.0 openvino
    python benchmarks/peers.py RUN BUNDLE [--out results/speed/NAME/peers.json]

RUN is a run with a policy, BUNDLE its export for ONNX Runtime. Every worker has a process of its own, the same
threads, the same real images, and takes turns with the others; ratios are paired by round. `earlyon` gets the network's
own internal classifiers, thresholds and temperatures (its batched inference stops a batch at the first exit where all
of its images are sure). Static networks: eager PyTorch in its faster memory format, torch.compile with frozen weights,
ONNX Runtime in its best pool of threads, OpenVINO in float32 with its latency and its throughput hint, the better.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.bench.worker import ENGINE, STATIC, Worker, serve
from shallowdeep.bench.workers import Process, batches_a_turn, best_pool, closing, paired_ratio, side_workers, start
from shallowdeep.documents import plain
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.machine import this_machine

Floats = NDArray[np.float32]
Call = Callable[[Floats], Any]
VARIANTS = {
    "torch eager": ("contiguous", "channels_last"),
    "torch compile": ("frozen",),
    "openvino f32": ("LATENCY", "THROUGHPUT"),
    "earlyon": ("contiguous", "channels_last"),
}


def torch_static(run: str, variant: str, threads: int) -> Call:
    """The backbone in eager PyTorch, or compiled."""
    import torch  # noqa: PLC0415 - each worker imports what it needs alone

    from shallowdeep.checkpoint import load  # noqa: PLC0415

    torch.set_num_threads(threads)
    backbone = load(run).to_backbone().eval()
    layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
    backbone = backbone.to(memory_format=layout)
    run_backbone: Callable[..., Any] = backbone
    if variant == "frozen":
        import torch._inductor.config as inductor  # noqa: PLC0415

        inductor.freezing = True
        run_backbone = torch.compile(backbone, dynamic=False)  # a kernel for each batch size

    def call(images: Floats) -> object:
        with torch.no_grad():
            return run_backbone(torch.from_numpy(images).contiguous(memory_format=layout))

    return call


def openvino_static(bundle: str, variant: str, threads: int) -> Call:
    """The static ONNX file in OpenVINO, computing in float32."""
    import openvino  # noqa: PLC0415

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": variant}
    opened = read_bundle(bundle)
    requests: dict[int, Any] = {}  # one for each batch size

    def call(images: Floats) -> object:
        request = requests.get(len(images))
        if request is None:
            model = core.read_model(str(opened.path / str(opened.static)))
            model.reshape(images.shape)
            request = requests[len(images)] = core.compile_model(model, "CPU", settings).create_infer_request()
        return request.infer({0: images})

    return call


def earlyon(run: str, variant: str, threads: int) -> Call:
    """The network and its policy in earlyon's wrapper: hooks, and an exception where a whole batch is sure."""
    import torch  # noqa: PLC0415
    from earlyon import EarlyExitConfig, EarlyExitWrapper, ExitPoint  # noqa: PLC0415

    from shallowdeep.checkpoint import load, read_manifest  # noqa: PLC0415
    from shallowdeep.exits.policy_file import read_policy  # noqa: PLC0415

    torch.set_num_threads(threads)
    network = load(run)
    policy = read_policy(Path(run) / "policy.json", str(read_manifest(run).weights["sha256"]))
    if network.costs.cascaded or policy.signal != "max-probability":
        raise SystemExit("Expected heads on their own and the signal max-probability: earlyon knows no others")
    used = policy.in_use[:-1]
    names = {k: f"exit{k}" for k in used}
    config = EarlyExitConfig(
        backbone="shallowdeep",
        num_classes=len(network.classes),
        exit_points=[ExitPoint(names[k], network.exits[k].name, 1) for k in used],
        confidence_thresholds=[min(policy.threshold_at(k), 1.0) for k in used],
        enabled_exits=[policy.threshold_at(k) <= 1 for k in used],
        temperatures={**{names[k]: policy.temperature_at(k) for k in used}, "final": 1.0},
    )
    layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
    backbone = network.to_backbone().eval().to(memory_format=layout)
    heads = {names[k]: network.internal_classifiers[k].eval() for k in used}
    side = network.preprocessing.size if network.preprocessing is not None else 32
    wrapper = EarlyExitWrapper(backbone, heads, lambda logits: logits, config, input_shape=(1, 3, side, side)).eval()

    def call(images: Floats) -> object:
        x = torch.from_numpy(images).contiguous(memory_format=layout)
        return wrapper(x) if len(x) == 1 else wrapper.forward_inference_batched(x)

    return call


def child(arguments: list[str]) -> None:
    """One worker, answering orders."""
    kind, variant, run, bundle, threads, images = arguments
    warnings.simplefilter("ignore")
    worker = Worker(np.load(images, mmap_mode="r"), int(threads))
    if kind == "earlyon":
        worker.call = earlyon(run, variant, int(threads))
    elif kind == "openvino f32":
        worker.call = openvino_static(bundle, variant, int(threads))
    else:
        worker.call = torch_static(run, variant, int(threads))
    serve(worker)


def measure(arguments: argparse.Namespace, images: Floats) -> dict[str, Any]:
    """All workers at all batch sizes."""
    opened, threads = read_bundle(arguments.bundle), arguments.threads
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "images.npy"
        np.save(file, images)
        sides: dict[str, list[Process]] = {
            "shallowdeep": side_workers(opened, ENGINE, file, threads),
            "onnxruntime": side_workers(opened, STATIC, file, threads),
        }
        for kind, variants in VARIANTS.items():
            where = [str(arguments.run), str(arguments.bundle), str(threads), str(file)]
            commands = [[__file__, "child", kind, variant, *where] for variant in variants]
            sides[kind] = [start(command[3], command, threads) for command in commands]
        with closing([process for side in sides.values() for process in side]):
            return {"batches": [at_size(sides, size, arguments.rounds) for size in arguments.batch_sizes]}


def at_size(sides: dict[str, list[Process]], size: int, rounds: int) -> dict[str, Any]:
    """One batch size: the best variant of each, then rounds in rotating order."""
    counts = {name: batches_a_turn(processes, size) for name, processes in sides.items()}
    best = {name: best_pool(processes, size, counts[name]) for name, processes in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in best}
    names = list(best)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            first, count = number * size * counts["shallowdeep"], counts[name]
            times[name].append(best[name].order("time", first=first, size=size, batches=count) / count)
    print(size, {name: f"{1e3 * float(np.median(values)):.2f} ms" for name, values in times.items()}, file=sys.stderr)
    return {
        "batch_size": size,
        "workers": {
            name: {
                "ms": 1e3 * float(np.median(values)),
                "variant": best[name].pool,
                "shallowdeep_is_faster_by": plain(paired_ratio(values, times["shallowdeep"])),
            }
            for name, values in times.items()
        },
    }


def main() -> None:
    """Measure, print and write."""
    from shallowdeep.workflows.bench import real_images  # noqa: PLC0415 - children need no torch for it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    opened = read_bundle(arguments.bundle)
    images, data = real_images(opened, None)
    document = {
        "benchmark": "peers", "model": opened.model, "data": data, "rounds": arguments.rounds,
        "machine": plain(this_machine(arguments.threads)),
        **measure(arguments, images),
    }  # fmt: skip
    text = json.dumps(document, indent=2) + "\n"
    if arguments.out is not None:
        arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        main()
