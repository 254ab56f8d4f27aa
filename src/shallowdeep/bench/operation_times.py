"""Seconds of each operation of an OpenVINO graph, as the runtime itself counts them (no torch).

One run tells all of them, so that shares of a graph's time suffer less from neighbours than two timings would. What a
part of a graph takes is that of the operations it was compiled to, the rearrangements between them included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from shallowdeep.inference.backends.openvino_models import options, sized
from shallowdeep.inference.openvino_core import core, openvino

WARM_UPS = 5
LEAST_ROUNDS, MOST_ROUNDS = 15, 200
SECONDS = 4.0  # of rounds, where they are short
_QUANTILE = 0.25  # over rounds: what other processes take away weighs less than in the median

Graph = Any  # openvino.Model, which has no types


@dataclass(frozen=True)
class Operation:
    """One operation of a compiled graph.

    Attributes:
        seconds: for a batch, the lower quartile over rounds.
        nodes: names of the graph's nodes that it stands for; empty for what the runtime put in between.
        outputs: names of the graph's outputs that need it.
    """

    seconds: float
    nodes: frozenset[str]
    outputs: frozenset[str]


def seconds_until(operations: Sequence[Operation], nodes: Iterable[str]) -> float:
    """Return the seconds of all operations up to and including the last that stands for one of ``nodes``.

    Args:
        operations: in the order they run.
        nodes: names; 0 seconds where no operation stands for any of them.
    """
    wanted = frozenset(nodes)
    last = max((place for place, operation in enumerate(operations) if operation.nodes & wanted), default=-1)
    return sum(operation.seconds for operation in operations[: last + 1])


def seconds_for(operations: Sequence[Operation], output: str, without: str = "") -> float:
    """Return the seconds of the operations that an output needs, and that the output ``without`` does not."""
    return sum(
        operation.seconds
        for operation in operations
        if output in operation.outputs and without not in operation.outputs
    )


def operation_times(graph: Graph, precision: str, batch_size: int, threads: int | None = None) -> list[Operation]:
    """Return the operations of a graph in the order they run, timed on random input.

    What a run takes beside its operations is shared out among them: at small batches each costs a start.

    Args:
        graph: with one input (n, ...) and outputs that have names; quantised where the precision is ``int8``.
        precision: ``f32``, ``bf16`` or ``int8``.
        batch_size: n.
        threads: of the runtime; None for one a core.
    """
    compiled = core().compile_model(
        sized(graph, batch_size), "CPU", {**options(threads, precision), "PERF_COUNT": "YES"}
    )
    request = compiled.create_infer_request()
    shape = list(compiled.inputs[0].get_shape())
    request.set_input_tensor(openvino.Tensor(np.random.default_rng(0).standard_normal(shape, dtype=np.float32)))
    whole, each = list[float](), list[list[float]]()
    first = perf_counter()
    while len(whole) < LEAST_ROUNDS + WARM_UPS or (len(whole) < MOST_ROUNDS and perf_counter() - first < SECONDS):
        start = perf_counter()
        request.infer()
        whole.append(perf_counter() - start)
        each.append([entry.real_time.total_seconds() for entry in request.get_profiling_info()])
    names = [entry.node_name for entry in request.get_profiling_info()]
    seconds = dict(zip(names, np.quantile(each[WARM_UPS:], _QUANTILE, axis=0).tolist(), strict=True))
    return _with_starts(
        _operations(compiled.get_runtime_model(), seconds), float(np.quantile(whole[WARM_UPS:], _QUANTILE))
    )


def _operations(runtime: Graph, seconds: dict[str, float]) -> list[Operation]:
    """Return what a compiled graph runs, in order; constants and what takes no time aside."""
    ordered = sorted(runtime.get_ops(), key=lambda node: int(_told(node, "execOrder")))
    outputs: dict[str, set[str]] = {}
    for node in reversed(ordered):
        name = node.get_friendly_name()
        needed = outputs.setdefault(name, set())
        if node.get_type_name() == "Result":
            needed.add(name.split("/")[0])
        for entry in node.inputs():
            outputs.setdefault(entry.get_source_output().get_node().get_friendly_name(), set()).update(needed)
    return [
        Operation(
            seconds[node.get_friendly_name()],
            frozenset(filter(None, _told(node, "originalLayersNames").split(","))),
            frozenset(outputs[node.get_friendly_name()]),
        )
        for node in ordered
        if seconds.get(node.get_friendly_name(), 0.0) > 0
    ]


def _told(node: Any, what: str) -> str:  # noqa: ANN401 - openvino has no types
    told = node.get_rt_info()
    return str(told[what].astype(str)) if what in told else ""


def _with_starts(operations: Sequence[Operation], whole: float) -> list[Operation]:
    """Return operations that add up to ``whole`` seconds, each with the same share of what is missing; never less."""
    missing = max(0.0, whole - sum(operation.seconds for operation in operations))
    return [replace(operation, seconds=operation.seconds + missing / len(operations)) for operation in operations]
