"""Plans, their files' content, and the sentence on what to deploy."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shallowdeep.documents import plain
from shallowdeep.exits.costs import CostModel
from shallowdeep.inference.plan_record import EXITS, STATIC, ExitRow, Finalist, Plan, SpeedRow, StaticRow, plan_from
from shallowdeep.inference.plan_verdict import named, verdict

INT8 = StaticRow("openvino", "int8", (1.0, 20.0), 0.9, True)


def finalist(*speedups: float, exits: tuple[int, ...] = (0, 2)) -> Finalist:
    """One whose intervals are 5 % wide to both sides, at batch sizes 1 and 64."""
    speeds = tuple(
        SpeedRow(size, "openvino int8", 10.0, 10.0 / value, value, 0.95 * value, 1.05 * value)
        for size, value in zip((1, 64), speedups, strict=True)
    )
    return Finalist("openvino", "int8", exits, 0.5, 0.9, speeds)


def test_exits_that_win_are_to_be_deployed() -> None:
    """At which batch sizes, and how much faster."""
    found = verdict(INT8, [finalist(1.2, 1.6)], (1, 64), "")
    assert found.deploy == EXITS
    assert found.sentence == (
        "Deploy exits 0 and 2 in openvino int8: 1.20 (batch 1), 1.60 (batch 64) times as fast as the fastest static "
        "network (openvino int8)."
    )
    some = verdict(INT8, [finalist(0.99, 1.6, exits=(1,))], (1, 64), "").sentence
    assert some.startswith("Deploy exit 1 in openvino int8: 1.60 (batch 64) times as fast")
    assert some.endswith("; at batch size 1 the static network is as fast or faster.")


def test_static_networks_that_win_are_to_be_kept() -> None:
    """Why, and what exits would give."""
    lost = verdict(INT8, [finalist(0.8, 0.9)], (1, 64), "heads take it")
    assert lost.deploy == STATIC
    assert lost.sentence == (
        "Do not convert this one here: deploy the static network in openvino int8. The best exits found, exits 0 and "
        "2, are 0.80 (batch 1), 0.90 (batch 64) times as fast as it: heads take it."
    )
    none = verdict(INT8, [], (1, 64), "no early exit does what was asked for").sentence
    assert none.endswith("deploy the static network in openvino int8; no early exit does what was asked for.")


def test_exits_that_win_at_one_batch_size_alone_are_named() -> None:
    """Together they lose."""
    found = verdict(INT8, [finalist(0.5, 1.3)], (1, 64), "heads take it")
    assert found.deploy == STATIC
    assert found.sentence.startswith("Do not convert this one for all these batch sizes together: deploy the static")
    assert "at batch size 64 alone exits 0 and 2 in openvino int8 are 1.30 times as fast" in found.sentence
    assert "(plan --batch-sizes 64)" in found.sentence


@pytest.mark.parametrize(
    ("exits", "text"), [((4,), "exit 4"), ((0, 2), "exits 0 and 2"), ((0, 1, 2), "exits 0, 1 and 2")]
)
def test_exits_are_named(exits: tuple[int, ...], text: str) -> None:
    """As sentences do."""
    assert named(exits) == text


def test_plans_come_back_from_json() -> None:
    """With all their rows, with and without times."""
    plan = Plan(
        "run", EXITS, "openvino", "int8", (0, 2), "Deploy.", (INT8,),
        (ExitRow("openvino", "int8", 0, (0.2, 0.2), (0.01, 0.02), (1.0, 2.0)),), (finalist(1.2, 1.6),), ("slow",),
        CostModel((0.2, 0.6, 1.1), (0.05, 0.05)), (1.0, 20.0), {"weights": "w", "batch_sizes": [1, 64]}, "2026-11-27",
    )  # fmt: skip
    for one in (plan, replace(plan, times=None, deploy=STATIC, exits=())):
        assert plan_from(json.loads(json.dumps(plain(one)))) == one
