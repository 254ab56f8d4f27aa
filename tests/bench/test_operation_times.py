"""Seconds of parts of a graph."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.bench import operation_times as module
from shallowdeep.bench.operation_times import Operation, seconds_for, seconds_until

OPERATIONS = [
    Operation(1.0, frozenset({"conv", "relu"}), frozenset({"logits", "head"})),
    Operation(0.5, frozenset(), frozenset({"head"})),
    Operation(0.25, frozenset({"pool"}), frozenset({"head"})),
    Operation(2.0, frozenset({"matmul"}), frozenset({"logits"})),
]


def test_time_up_to_a_node() -> None:
    """All that runs up to the last operation that stands for one of the nodes; nothing where none is known."""
    assert seconds_until(OPERATIONS, {"conv"}) == 1.0
    assert seconds_until(OPERATIONS, {"conv", "pool", "elsewhere"}) == 1.75
    assert seconds_until(OPERATIONS, {"elsewhere"}) == 0.0


def test_time_of_a_part_alone() -> None:
    """What an output needs; and what it alone needs, with the rearrangements between."""
    assert seconds_for(OPERATIONS, "logits") == 3.0
    assert seconds_for(OPERATIONS, "head", "logits") == 0.75


def test_operations_of_a_real_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in order, know the nodes they stand for and the outputs that need them, and add up to the whole."""
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(module, "SECONDS", 0.0)
    ops = openvino.opset13
    x = ops.parameter([-1, 8], np.float32, name="x")
    trunk = ops.matmul(x, np.ones((8, 512), np.float32), False, False, name="trunk")
    first = ops.softmax(trunk, 1, name="first")
    second = ops.matmul(ops.exp(trunk), np.ones((512, 4), np.float32), False, False, name="second")
    results = []
    for node, name in ((first, "head"), (second, "logits")):
        node.output(0).get_tensor().set_names({name})
        results.append(ops.result(node, name=name))
    operations = module.operation_times(openvino.Model(results, [x], "graph"), "f32", 64, 1)
    (place,) = (k for k, operation in enumerate(operations) if "trunk" in operation.nodes)
    assert operations[place].outputs == {"head", "logits"}
    assert any(operation.outputs == {"head"} for operation in operations[place + 1 :])
    assert any("second" in operation.nodes and operation.outputs == {"logits"} for operation in operations[place + 1 :])
    assert all(operation.seconds > 0 for operation in operations)
