"""A bundle is timed as it is, against its own static network."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Shell
from tests.made_run import TRUSTING

from shallowdeep.artifacts import POLICY
from shallowdeep.calibration.objective import Objective
from shallowdeep.checkpoint import load
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy, write_policy
from shallowdeep.inference.plan_record import EXITS, STATIC
from shallowdeep.progress import SILENT
from shallowdeep.report.plan_tables import plan_tables
from shallowdeep.workflows import plan_bundle as module
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run
from shallowdeep.workflows.plan_bundle import plan_bundle


def test_a_bundle_is_planned(made_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exits, or its static network; nothing is written."""
    monkeypatch.setattr(module, "ROUNDS", 2)
    calibrate_run(made_run, Objective(threshold=0.4), exits=[1], context=TRUSTING)
    bundle = export_run(made_run, workplace / "b", context=TRUSTING)
    before = sorted(path.name for path in bundle.path.iterdir())
    plan = plan_bundle(bundle.path, batch_sizes=(1, 4), data=None, threads=1, progress=SILENT)
    assert (plan.deploy, plan.exits) in {(EXITS, (1,)), (STATIC, ())}
    assert (plan.backend, plan.precision) == ("onnxruntime", "f32")
    (static,), (engine,) = plan.statics, plan.finalists
    assert engine.exits == (1,)
    assert [speed.batch_size for speed in engine.speeds] == [1, 4]
    assert [speed.static_ms for speed in engine.speeds] == list(static.milliseconds)
    assert all(speed.low <= speed.speedup <= speed.high for speed in engine.speeds)
    assert engine.relative_cost > 0
    assert 12 * static.accuracy == round(12 * static.accuracy)  # of the twelve test images
    assert plan.setting["images"] == "12 images of images"
    assert "one runtime" in plan.notes[0]
    assert plan_tables(plan)
    assert sorted(path.name for path in bundle.path.iterdir()) == before


def test_a_static_bundle_has_nothing_to_plan(made_run: Path, workplace: Path) -> None:
    """Nor has one without its static network."""
    calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)
    export_run(made_run, workplace / "bare", static=False, context=TRUSTING)
    with pytest.raises(ConfigurationError, match="without --no-static"):
        plan_bundle(workplace / "bare", batch_sizes=(1,), data=None, threads=1, progress=SILENT)
    weights = read_policy(made_run / POLICY, load(made_run, trust=True).weights).weights
    write_policy(Policy((None, None), weights=weights), made_run / POLICY)
    export_run(made_run, workplace / "static", context=TRUSTING)
    with pytest.raises(ConfigurationError, match="with early exits, static holds a static network"):
        plan_bundle(Path("static"), batch_sizes=(1,), data=None, threads=1, progress=SILENT)


def test_what_a_policy_settles_is_refused(made_run: Path, workplace: Path, shell: Shell) -> None:
    """On the command line, in one line; as is what is neither run nor bundle."""
    calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)
    export_run(made_run, workplace / "b", context=TRUSTING)
    status, _, errors = shell("plan", "b", "--budget", 0.5)
    assert (status, errors.count("\n")) == (2, 1)
    assert "policy is timed as it is" in errors.replace("\n", " ")
    assert shell("plan", "b", "--renew")[0] == 2
    status, _, errors = shell("plan", "images")
    assert status == 2
    assert "Expected a saved network" in errors
