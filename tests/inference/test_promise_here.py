"""Promises at lower precision name the processor's instructions, and hold on those alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.promises import AnswersPromise, Promise
from shallowdeep.inference import promise_here
from shallowdeep.inference.promise_here import kept_here, promised_here, why_not_for, with_promises_for

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
    here = promised_here(POLICY, "openvino", "int8")
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
    assert promised_here(policy, "openvino", "f32") == policy
    processor.setattr(promise_here, "instruction_set", lambda _: "neon")
    assert kept_here(policy, "f32") == (policy, None)


def test_a_processor_that_tells_nothing_keeps_no_promise(processor: pytest.MonkeyPatch) -> None:
    """Two of them may be different ones."""
    processor.setattr(promise_here, "instruction_set", lambda _: "unknown")
    policy, reason = kept_here(promised_here(POLICY, "openvino", "int8"), "int8")
    assert policy.promise is None
    assert reason is not None
    assert "this processor does not tell its instructions" in reason


def test_a_promise_is_about_the_versions_that_made_its_outputs(processor: pytest.MonkeyPatch) -> None:
    """Another version may quantise otherwise; so what is exported with one carries no promise."""
    processor.setattr(promise_here, "version", lambda package: {"openvino": "2026.1", "nncf": "3.0"}[package])
    here = promised_here(POLICY, "openvino", "int8")
    assert here.promise is not None
    assert here.promise.versions == "openvino 2026.1, nncf 3.0"
    assert with_promises_for(here, "openvino", "int8") == here
    processor.setattr(promise_here, "version", lambda package: {"openvino": "2026.2", "nncf": "3.0"}[package])
    assert with_promises_for(here, "openvino", "int8").promise is None
    assert why_not_for(here.promise, "openvino", "int8") == (
        "it was certified with openvino 2026.1, nncf 3.0, here is openvino 2026.2, nncf 3.0"
    )
    assert why_not_for(here.promise, "openvino", "bf16") == "it is about openvino int8"
