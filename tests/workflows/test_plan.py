"""A run is planned, calibrated by the plan, and exported by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.made_run import TRUSTING
from tests.recorder import Recorder

from shallowdeep.artifacts import MODEL_MANIFEST, POLICY
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.errors import CheckpointError, ConfigurationError, ConversionError
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.policy_file import read_policy, write_policy
from shallowdeep.exits.promises import AnswersPromise, Promise
from shallowdeep.inference.backends.openvino_models import precisions
from shallowdeep.inference.plan_record import EXITS, STATIC, Plan, StaticRow
from shallowdeep.runs import plan_file
from shallowdeep.runs.plan_file import plan_path, read_plan, write_plan
from shallowdeep.workflows import plan_exits, plan_runtimes
from shallowdeep.workflows.bench import bench_bundle
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run
from shallowdeep.workflows.plan import plan_run

ASKED = Objective(threshold=0.4)


def plan_for(run: Path, deploy: str, exits: tuple[int, ...], precision: str = "f32") -> Plan:
    """A plan as if it had been measured here."""
    weights = load(run, trust=True).weights
    row = StaticRow("openvino", precision, (4.0,), 0.9, allowed=True)
    plan = Plan(
        str(run), deploy, "openvino", precision, exits, "Do so.", (row,), (), (), (),
        CostModel((0.3, 0.7, 1.2), (0.1, 0.1)), (4.0,), {"weights": weights, "batch_sizes": [8]}, "2026-11-27",
    )  # fmt: skip
    write_plan(run, plan)
    return plan


def test_runs_are_measured_once(made_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every runtime that is there; the second time the file is read."""
    monkeypatch.setattr(plan_runtimes, "RUNTIMES", (("onnxruntime", "f32"), ("onnxruntime", "int8")))
    for module in (plan_runtimes, plan_exits):
        monkeypatch.setattr(module, "available_cores", lambda: 1)
    found, path = plan_run(made_run, ASKED, batch_sizes=(2, 1), context=TRUSTING)
    assert path == plan_path(made_run)
    assert [(row.backend, row.precision) for row in found.statics] == [("onnxruntime", "f32")]
    assert len(found.statics[0].milliseconds) == 2
    assert min(found.statics[0].milliseconds) > 0
    assert any("onnxruntime int8 is left out" in note for note in found.notes)
    assert {row.exit for row in found.exit_rows} == {0, 1}
    assert found.deploy in {EXITS, STATIC}
    assert all([speed.batch_size for speed in one.speeds] == [1, 2] for one in found.finalists)
    assert read_plan(made_run, load(made_run, trust=True).weights) == found
    again, nothing = plan_run(made_run, ASKED, batch_sizes=(1, 2), context=TRUSTING)
    assert (again, nothing) == (found, None)


def test_a_runtime_that_cannot_take_the_network_is_left_out(made_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are planned for."""
    measured = plan_runtimes._measured

    def failing(
        site: plan_runtimes.Site, backend: str, precision: str, others: Sequence[StaticRow]
    ) -> plan_runtimes.PlannedRuntime:
        if backend == "openvino":
            raise ConversionError("Expected a network that OpenVINO can take, got another")
        return measured(site, backend, precision, others)

    monkeypatch.setattr(plan_runtimes, "RUNTIMES", (("openvino", "f32"), ("onnxruntime", "f32")))
    monkeypatch.setattr(plan_runtimes, "_measured", failing)
    for module in (plan_runtimes, plan_exits):
        monkeypatch.setattr(module, "available_cores", lambda: 1)
    found, _ = plan_run(made_run, ASKED, batch_sizes=(1,), context=TRUSTING)
    assert [row.backend for row in found.statics] == ["onnxruntime"]
    assert any("that OpenVINO can take, got another" in note for note in found.notes)


def test_a_damaged_plan_is_renewed(made_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its message says."""
    plan_for(made_run, EXITS, (1,))
    plan_path(made_run).write_text("{")
    with pytest.raises(CheckpointError):
        plan_run(made_run, ASKED, batch_sizes=(1,), context=TRUSTING)
    monkeypatch.setattr(plan_runtimes, "RUNTIMES", (("onnxruntime", "f32"),))
    for module in (plan_runtimes, plan_exits):
        monkeypatch.setattr(module, "available_cores", lambda: 1)
    assert plan_run(made_run, ASKED, batch_sizes=(1,), renew=True, context=TRUSTING)[1] == plan_path(made_run)


def test_a_plan_made_otherwise_is_told(made_run: Path) -> None:
    """Another objective, other images, other versions: it is followed, and that is said."""
    plan_for(made_run, EXITS, (1,))
    recorder = Recorder()
    calibrate_run(made_run, ASKED, follow_plan=True, context=RunContext(trust=True, progress=recorder))
    told = (
        "That plan was made for another objective, other images, other versions of the runtimes; `plan` makes another"
    )
    assert told in recorder.said


def test_promises_that_are_left_out_are_told(made_run: Path, workplace: Path) -> None:
    """Those of answers too; and a policy by another machine's plan is told."""
    pytest.importorskip("openvino")
    calibrate_run(made_run, ASKED, context=TRUSTING)
    known = read_policy(made_run / POLICY, load(made_run, trust=True).weights)
    promise = AnswersPromise("s", 0.1, 0.95, 30, 0.9, 0.02, "t", 0.01)
    withholding = Abstention("confidence", 0.5, promise)
    assert known.found is not None
    by_plan = replace(known.found, backend="openvino", precision="f32", planned=True)
    write_policy(replace(known, abstention=withholding, found=by_plan), made_run / POLICY)
    recorder = Recorder()
    context = RunContext(trust=True, progress=recorder)
    kept = export_run(made_run, workplace / "b", context=context)
    assert kept.policy.abstention is not None
    assert kept.policy.abstention.promise == promise
    assert recorder.said == ["The policy follows a plan, but none for this machine: `plan` tells what pays here"]
    if "bf16" in precisions():
        lost = export_run(made_run, workplace / "c", precision="bf16", context=context)
        assert lost.policy.abstention is not None
        assert lost.policy.abstention.promise is None
        assert "The policy's promise is left out: it is about float32" in recorder.said


def test_calibration_follows_the_plan(made_run: Path) -> None:
    """Its exits alone, its times, and its runtime, which export then writes; --no-plan leaves it aside."""
    plan_for(made_run, EXITS, (1,))
    report, _ = calibrate_run(made_run, ASKED, follow_plan=True, context=TRUSTING)
    assert report.policy.in_use == (1, 2)
    assert report.milliseconds is not None
    assert report.milliseconds.batch_size == 8
    assert report.milliseconds.reached[0] is None
    assert report.milliseconds.reached[1:] == pytest.approx((4 * 0.6, 4 * 1.1))
    shares = report.test.exit_shares
    assert report.test.relative_time == pytest.approx(0.6 * shares[1] + 1.1 * shares[2])
    found = read_policy(made_run / POLICY, report.policy.weights).found
    assert found is not None
    assert (found.backend, found.precision, found.planned) == ("openvino", "f32", True)
    other, _ = calibrate_run(made_run, ASKED, context=TRUSTING)
    assert other.policy.in_use == (0, 1, 2)
    assert other.milliseconds is None


def test_exits_can_be_named(made_run: Path) -> None:
    """Without a plan; and those that are none are refused."""
    report, _ = calibrate_run(made_run, ASKED, exits=[0], context=TRUSTING)
    assert report.policy.in_use == (0, 2)
    with pytest.raises(ConfigurationError, match="different exits among 0"):
        calibrate_run(made_run, ASKED, exits=[7], context=TRUSTING)


def test_export_writes_what_was_calibrated(made_run: Path, workplace: Path) -> None:
    """In the plan's runtime, and says nothing of other plans; without a plan it tells how to have one."""
    pytest.importorskip("openvino")
    plan_for(made_run, EXITS, (1,))
    calibrate_run(made_run, ASKED, follow_plan=True, context=TRUSTING)
    recorder = Recorder()
    bundle = export_run(made_run, workplace / "b", context=RunContext(trust=True, progress=recorder))
    assert (bundle.backend, [segment.exit for segment in bundle.segments]) == ("openvino", [1, 2])
    assert not recorder.said
    calibrate_run(made_run, ASKED, context=TRUSTING)
    export_run(made_run, workplace / "c", context=RunContext(trust=True, progress=recorder))
    assert recorder.said == ["The policy was found without the plan for this machine; `calibrate` follows it"]
    plan_path(made_run).unlink()
    export_run(made_run, workplace / "d", context=RunContext(trust=True, progress=recorder))
    assert recorder.said[1:] == ["No plan for this machine: all exits of the policy are kept. `plan` tells which pay"]


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_static_plan_becomes_a_static_bundle(made_run: Path, workplace: Path, *, calibrated: bool) -> None:
    """Which is timed like any other, with or without calibration."""
    pytest.importorskip("openvino")
    plan_for(made_run, STATIC, ())
    if calibrated:
        report, _ = calibrate_run(made_run, Objective(budget=0.5), follow_plan=True, context=TRUSTING)
        assert report.policy.in_use == (2,)
        assert report.test.accuracy_lost == 0
    bundle = export_run(made_run, workplace / "b", context=TRUSTING)
    assert (bundle.backend, len(bundle.segments), bundle.segments[0].relative_cost) == ("openvino", 1, 1.0)
    timed, _ = bench_bundle(
        bundle.path, data=None, batch_sizes=[2], rounds=1, threads=1, out=None, context=RunContext()
    )
    assert timed.batches[0].exit_shares[-1] == 1


def test_promised_exits_stay(made_run: Path, workplace: Path) -> None:
    """A policy without promise may lose some, one with a promise none."""
    report, _ = calibrate_run(made_run, ASKED, context=TRUSTING)
    bundle = export_run(made_run, workplace / "b", exits=[1], context=TRUSTING)
    assert bundle.policy.in_use == (1, 2)
    promise = Promise("s", "accuracy-gap", 0.1, 0.95, "own final exit", 30, "t", 0.01)
    write_policy(replace(report.policy, promise=promise), made_run / POLICY)
    with pytest.raises(ConfigurationError, match="calibrate --exits 1 promises something"):
        export_run(made_run, workplace / "c", exits=[1], context=TRUSTING)
    export_run(made_run, workplace / "c", exits=[0, 1], context=TRUSTING)


def test_what_cannot_be_planned_is_refused(made_run: Path) -> None:
    """Batch sizes that are none; a run without exits."""
    with pytest.raises(ConfigurationError, match="batch sizes of at least 1"):
        plan_run(made_run, ASKED, batch_sizes=(0,), context=TRUSTING)
    manifest = json.loads((made_run / MODEL_MANIFEST).read_text())
    manifest.pop("sha256", None)
    manifest["exits"] = manifest["exits"][-1:]
    (made_run / MODEL_MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"Expected a run with internal classifiers, .* plain backbone"):
        plan_run(made_run, ASKED, context=TRUSTING)


def test_plans_are_for_a_machine_and_weights(made_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are not read; damaged ones are told."""
    plan = plan_for(made_run, EXITS, (1,))
    weights = plan.setting["weights"]
    assert read_plan(made_run, "0" * 64) is None
    path = plan_path(made_run)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        read_plan(made_run, weights)
    write_plan(made_run, replace(plan, exits=(0,)))
    monkeypatch.setattr(plan_file, "available_cores", lambda: 64)
    assert plan_path(made_run) != path
    assert read_plan(made_run, weights) is None
