"""Promises at lower precision name the processor's instructions, and hold on those alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import AnswersPromise, Promise
from shallowdeep.inference import promise_here
from shallowdeep.inference.promise_here import kept_here, promised_here

PROMISE = Promise("s", "accuracy-gap", 0.01, 0.95, "float32 final exit", 900, "t", 0.01, "openvino int8")
ANSWERS = AnswersPromise("s", 0.02, 0.95, 900, 0.9, 0.01, "t", 0.01, "openvino int8")
POLICY = Policy((0.9,), promise=PROMISE, abstention=Abstention("confidence", 0.5, ANSWERS))


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One with VNNI."""
    monkeypatch.setattr(promise_here, "instruction_set", lambda _: "avx512_vnni")
    return monkeypatch


def test_a_promise_holds_where_it_was_certified(processor: pytest.MonkeyPatch) -> None:
    """And is withdrawn elsewhere, both kinds, with a reason that names both processors."""
    here = promised_here(POLICY, "int8")
    assert here.promise is not None
    assert here.promise.instructions == "avx512_vnni"
    assert kept_here(here, "int8") == (here, None)
    processor.setattr(promise_here, "instruction_set", lambda _: "avx2")
    policy, reason = kept_here(here, "int8")
    assert policy.promise is None
    assert policy.abstention is not None
    assert policy.abstention.promise is None
    assert policy.thresholds == here.thresholds
    assert reason is not None
    assert "certified on avx512_vnni at int8; this processor has avx2" in reason


def test_float32_promises_hold_everywhere(processor: pytest.MonkeyPatch) -> None:
    """They name no runtime and no instructions."""
    policy = replace(POLICY, promise=replace(PROMISE, runtime=""), abstention=None)
    assert promised_here(policy, "f32") == policy
    processor.setattr(promise_here, "instruction_set", lambda _: "neon")
    assert kept_here(policy, "f32") == (policy, None)
