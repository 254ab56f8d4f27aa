"""The unmodified network in every runtime and precision: which would be worth a backend of its own?

    python benchmarks/static_runtimes.py [--networks resnet56 vgg16] [--rounds 5]

Weights are untrained, which changes no time. Every contender has a process of its own, is warmed up at each size of
batch, and takes turns with the others. Run it on an otherwise idle machine.
"""

# ruff: noqa: PLC0415 - each contender loads its own runtime alone
from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.bench.workers import Process, closing, paired_ratio, start
from shallowdeep.documents import plain
from shallowdeep.files import write_json
from shallowdeep.machine import available_cores, this_machine

SIZES = (1, 8, 64, 256)
SIDE, CLASSES, SCALING_IMAGES = 32, 10, 256
STREAMS, ASYNC_SIZES = 2, (64, 256)
CONTENDERS = (
    "onnxruntime f32", "onnxruntime int8", "openvino f32", "openvino bf16", "openvino int8", "openvino int8, 2 streams",
    "torch f32", "torch bf16", "torch.compile f32", "torch.compile bf16",
)  # fmt: skip
PACKAGES = ("onnxruntime", "openvino", "nncf", "torch")
RESULT = Path(__file__).resolve().parent.parent / "results" / "benchmarks" / "static-runtimes.json"

Call = Callable[[np.ndarray], Any]


def images(count: int) -> np.ndarray:
    """Normal random numbers (count, 3, 32, 32)."""
    return np.random.default_rng(0).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def prepare(name: str, folder: Path) -> None:
    """Write the network as ONNX and OpenVINO files, in float32 and in 8-bit integers."""
    import logging

    import nncf
    import openvino
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from shallowdeep.inference.onnx_export import export_module
    from shallowdeep.models.registry import build

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{"x": batch} for batch in np.split(images(SCALING_IMAGES), 8)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    torch.manual_seed(0)
    network = build(name, num_classes=CLASSES, image_size=SIDE).eval()
    torch.save(network.state_dict(), folder / "weights.pt")
    export_module(network, {"x": torch.zeros(2, 3, SIDE, SIDE)}, folder / "f32.onnx", ["logits"])
    quantize_static(
        folder / "f32.onnx", folder / "int8.onnx", Batches(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    graph = openvino.Core().read_model(folder / "f32.onnx")
    openvino.save_model(graph, folder / "f32.xml", compress_to_fp16=False)
    logging.getLogger("nncf").setLevel(logging.ERROR)
    data = nncf.Dataset(np.split(images(SCALING_IMAGES), 8))
    quantised = nncf.quantize(graph, data, preset=nncf.QuantizationPreset.MIXED, subset_size=8)
    openvino.save_model(quantised, folder / "int8.xml", compress_to_fp16=False)


def in_onnxruntime(folder: Path, precision: str, threads: int) -> Call:
    """A session."""
    from shallowdeep.inference.backends.onnx_runtime import session

    opened = session(folder / f"{precision}.onnx", threads)
    return lambda x: opened.run(None, {"x": x})


def in_openvino(folder: Path, precision: str, threads: int) -> Call:
    """A model for each size of batch, one batch at a time."""
    import openvino

    from shallowdeep.inference.backends.openvino_models import CompiledModels

    file = "int8" if precision == "int8" else "f32"
    models = CompiledModels([folder / f"{file}.xml"], threads, precision, limit=2**34)
    requests: dict[int, Any] = {}

    def run(x: np.ndarray) -> None:
        if len(x) not in requests:
            requests[len(x)] = models.model(0, len(x))[0].model.create_infer_request()
        requests[len(x)].set_input_tensor(openvino.Tensor(x, shared_memory=True))
        requests[len(x)].infer(share_outputs=True)

    return run


def in_streams(folder: Path, threads: int) -> tuple[Call, Callable[[], None]]:
    """8-bit integers, batches side by side; and what waits for those begun."""
    import openvino

    from shallowdeep.inference.backends.openvino_models import options, sized

    core, queues = openvino.Core(), dict[int, Any]()
    graph = core.read_model(folder / "int8.xml")
    settings = {**options(threads, "int8"), "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(STREAMS)}

    def run(x: np.ndarray) -> None:
        if len(x) not in queues:
            model = core.compile_model(sized(graph, len(x)), "CPU", settings)
            queues[len(x)] = openvino.AsyncInferQueue(model, STREAMS)
        queues[len(x)].start_async({0: x}, share_inputs=True)

    def wait() -> None:
        for queue in queues.values():
            queue.wait_all()

    return run, wait


def in_torch(folder: Path, name: str, precision: str, threads: int, *, compiled: bool) -> Call:
    """The network's own modules, channels last, in inference mode."""
    import torch

    from shallowdeep.models.registry import build

    torch.set_num_threads(threads)
    network = build(name, num_classes=CLASSES, image_size=SIDE).eval()
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    network = network.to(kind).to(memory_format=torch.channels_last)
    call = torch.compile(network, dynamic=False) if compiled else network

    def run(x: np.ndarray) -> None:
        with torch.inference_mode():
            call(torch.from_numpy(x).to(kind, memory_format=torch.channels_last)).float()

    return run


def opened(contender: str, name: str, folder: Path, threads: int) -> tuple[Call, Callable[[], None]]:
    """What runs a batch, and what waits for all that were begun."""
    if contender == "openvino int8, 2 streams":
        return in_streams(folder, threads)
    runtime, precision = contender.split()
    if runtime == "onnxruntime":
        call = in_onnxruntime(folder, precision, threads)
    elif runtime == "openvino":
        call = in_openvino(folder, precision, threads)
    else:
        call = in_torch(folder, name, precision, threads, compiled=runtime == "torch.compile")
    return call, lambda: None


def work(contender: str, name: str, folder: Path, threads: int) -> None:
    """Warm up at every size, then time what is ordered."""
    call, wait = opened(contender, name, folder, threads)
    for size in sizes_of(contender):
        x = images(size)  # kept until all have read it
        for _ in range(3):
            call(x)
        wait()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        inputs = [images(order["size"]) for _ in range(2)]
        call(inputs[0])
        wait()
        started = time.perf_counter()
        for number in range(order["batches"]):
            call(inputs[number % 2])
        wait()
        print(json.dumps((time.perf_counter() - started) / order["batches"]), flush=True)


def sizes_of(contender: str) -> tuple[int, ...]:
    """Sizes of batch that a contender is timed at."""
    return ASYNC_SIZES if "streams" in contender else SIZES


def timed(contenders: dict[str, Process], rounds: int) -> list[dict[str, Any]]:
    """Milliseconds a batch at each size, and how many times as fast as the fastest other one each is."""
    found = []
    for size in SIZES:
        here = {name: process for name, process in contenders.items() if size in sizes_of(name)}
        trial = {name: process.order("time", size=size, batches=2) for name, process in here.items()}
        counts = {name: int(min(100, max(2, 0.2 / seconds))) for name, seconds in trial.items()}
        seconds: dict[str, list[float]] = {name: [] for name in here}
        for number in range(rounds):
            for name in list(here) if number % 2 == 0 else reversed(list(here)):
                seconds[name].append(here[name].order("time", size=size, batches=counts[name]))
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        best = min(medians, key=lambda name: medians[name])
        found.append({
            "batch_size": size,
            "fastest": best,
            "milliseconds": {name: round(1e3 * value, 3) for name, value in medians.items()},
            "times_as_long_as_fastest": {
                name: plain(paired_ratio(values, seconds[best])) for name, values in seconds.items()
            },
        })  # fmt: skip
    return found


def measured(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """All contenders on one network."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        print(f"{name}: preparing", file=sys.stderr, flush=True)
        prepare(name, Path(directory))
        contenders: dict[str, Process] = {}
        for contender in CONTENDERS:
            command = [__file__, "--worker", contender, name, directory, str(threads)]
            contenders[contender] = stack.enter_context(closing([start("", command, threads)]))[0]
        print(f"{name}: timing", file=sys.stderr, flush=True)
        batches = timed(contenders, rounds)
        print(f"{name}: timed", file=sys.stderr, flush=True)
    return {"model": name, "batches": batches}


def main() -> None:
    """Prepare, time, write."""
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        contender, name, folder, threads = sys.argv[2:]
        return work(contender, name, Path(folder), int(threads))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet56", "vgg16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    arguments = parser.parse_args()
    networks = [measured(name, arguments.rounds, arguments.threads) for name in arguments.networks]
    document = {
        "benchmark": "static-runtimes",
        "what": "milliseconds a batch of the unmodified network at 32x32, weights untrained",
        "rounds": arguments.rounds,
        "networks": networks,
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "machine": plain(this_machine(arguments.threads)),
    }
    write_json(RESULT, document)
    for network in networks:
        for batch in network["batches"]:
            print(network["model"], "batch", batch["batch_size"])
            for name, milliseconds in sorted(batch["milliseconds"].items(), key=lambda entry: entry[1]):
                ratio = batch["times_as_long_as_fastest"][name]
                shown = f"x{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
                print(f"  {name:26} {milliseconds:9.3f} ms  {shown}")
    return None


if __name__ == "__main__":
    main()
