"""A page goes where it is sent, and its slider starts at the run's policy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.made_run import TRUSTING

from shallowdeep.calibration.objective import Objective
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import write_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.threshold_curve import threshold_curve
from shallowdeep.workflows.analyze import How, analyze_run
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.report import report_path, write_report


@pytest.mark.parametrize(
    ("source", "out", "page"),
    [
        ("folder", None, "folder/report.html"),
        ("theirs.npz", None, "theirs.html"),
        ("folder", "page.html", "page.html"),
        ("folder", "new", "new/report.html"),
        ("theirs.npz", "folder", "folder/report.html"),
    ],
)
def test_a_page_goes_where_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str | None, page: str
) -> None:
    """Into the run, beside the file, to the file named, or into a folder by its own name."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert report_path(Path(source), None if out is None else Path(out)) == Path(page)


def marks(run: Path) -> list[dict[str, object]]:
    """Where the slider of a run's page starts."""
    analyzed, _ = analyze_run(run, How(resamples=0), TRUSTING)
    write_report(analyzed, run / "report.html", images=0)
    (found,) = re.findall(r'"marks":\s*(\[.*?\])', (run / "report.html").read_text(), re.DOTALL)
    read: list[dict[str, object]] = json.loads(found)
    return read


def test_the_slider_starts_at_the_runs_threshold(made_run: Path) -> None:
    """At the first step that is at least as strict; without a policy there is no mark."""
    assert marks(made_run) == []
    calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)
    (mark,) = marks(made_run)
    assert mark["name"] == "this run's policy"
    assert (mark["value"], mark["level"]) == (pytest.approx(0.4), 102)


def test_a_policy_of_another_kind_is_met_at_its_cost(made_run: Path) -> None:
    """Thresholds of each exit's own: the slider starts where one threshold costs as much on these samples."""
    report, _ = calibrate_run(made_run, Objective(threshold=0.4), context=TRUSTING)
    policy = Policy((0.3, 0.5), weights=report.policy.weights)
    write_policy(policy, made_run / "policy.json")
    (mark,) = marks(made_run)
    pred = ExitPredictions.load(made_run / "predictions/test.npz")
    curve = threshold_curve(pred, [step / 255 for step in range(256)])
    cost = outcome_of(policy, pred).relative_cost
    level = mark["level"]
    assert isinstance(level, int)
    assert mark["name"] == "as costly as this run's policy"
    assert abs(curve.relative_cost[level] - cost) == pytest.approx(min(abs(curve.relative_cost - cost)))
