"""What to deploy on this machine: every runtime and precision is measured, then exits that could win are timed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shallowdeep.analysis.accuracy import at_chance
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.promisable import option_of
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.documents import plain
from shallowdeep.errors import ConfigurationError
from shallowdeep.files import reading, require_writable
from shallowdeep.inference.plan import geometric_mean
from shallowdeep.inference.plan_record import EXITS, Plan
from shallowdeep.inference.plan_verdict import verdict
from shallowdeep.runs.plan_file import machine_setting, read_plan, runtime_versions, same_setting, write_plan
from shallowdeep.runs.splits import predict_split
from shallowdeep.runtime import pick_device
from shallowdeep.workflows.calibrate import Choice, calibration_splits
from shallowdeep.workflows.plan_exits import best_of, exit_rows, look_into, reason_against, timed
from shallowdeep.workflows.plan_runtimes import Asked, Site, runtimes_there, write_images

BATCH_SIZES = (1, 8, 64)


def plan_run(
    run: Path,
    objective: Objective | Choice,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    data: str | None = None,
    held_out: str | None = None,
    renew: bool = False,
    context: RunContext,
) -> tuple[Plan, Path | None]:
    """Return what to deploy on this machine, and the file it was written to; None where it was there already.

    Only ``tune`` is predicted; ``certify`` and ``test`` are not looked at.

    Args:
        run: a RUN with internal classifiers.
        objective: what policies are to do; a function gives it for the number of ``certify`` images and the relative
            cost of leaving at the first exit.
        batch_sizes: to plan for.
        data: where the run's own data is now; what is not a copy of it is taken for ``held_out``.
        held_out: images of the user's own, as for `calibrate_run`: their ``tune`` is planned on.
        renew: measure again where a plan with the same settings is there.
        context: where to predict, progress, trust, and what to do with bad images.

    Raises:
        ShallowDeepError: the run has no internal classifiers or cannot be read, or no runtime is installed.
    """
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or sizes[0] < 1:
        raise ConfigurationError(
            f"Expected batch sizes of at least 1, got {', '.join(map(str, batch_sizes)) or 'none'}"
        )
    with reading(run):
        if len(read_manifest(run).exits) == 1:
            raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
        require_writable(run, "plan writes to the run")
        network = load(run, trust=context.trust)
        found = calibration_splits(run, network, data, held_out, context)
        splits, theirs = found.used, found.held_out
        if callable(objective):
            objective = objective(len(splits.certify), float(network.costs[0]))
            context.progress.say(f"For {len(splits.certify):,} certify images: {option_of(objective)}")
        asked = Asked(objective, sizes)
        setting = {
            "machine": machine_setting(), "versions": runtime_versions(), "weights": network.weights,
            "batch_sizes": list(sizes), "objective": plain(objective),
            "data": splits.fingerprints.splits if theirs is None else theirs.fingerprint,
        }  # fmt: skip
        known = None if renew else read_plan(run, network.weights)
        if known is not None and same_setting(known, setting):
            return known, None
        network.to(pick_device(context.device))
        tune = predict_split(network, splits.tune, splits.preprocessing, context)
        with TemporaryDirectory() as work:
            site = Site(network.cpu(), splits, found.own, tune, asked, Path(work), context.progress)
            plan = made(site, str(run), setting)
        return plan, write_plan(run, plan)


def made(site: Site, run: str, setting: dict[str, Any]) -> Plan:
    """Measure, search, time, and say what to deploy.

    Args:
        site: what is planned for.
        run: the run's directory.
        setting: everything that the plan depends on.
    """
    sizes, chance = site.asked.batch_sizes, at_chance(site.tune, "tune")
    write_images(site)
    runtimes, left_out = runtimes_there(site)
    allowed = [runtime for runtime in runtimes if runtime.row.allowed]
    fastest = min(allowed, key=lambda one: geometric_mean(one.row.milliseconds))
    looked_into = look_into(site, runtimes)
    best = best_of(looked_into.choices)
    finalists = timed(site, best, allowed)
    found = verdict(fastest.row, finalists, sizes, reason_against(best, looked_into))
    winner = finalists[0] if found.deploy == EXITS else None
    chosen = fastest.row if winner is None else winner
    key = chosen.backend, chosen.precision
    times = next((one for one in looked_into.times if (one.backend, one.precision) == key), None)
    row = next(one.row for one in runtimes if (one.row.backend, one.row.precision) == key)
    return Plan(
        run=run,
        deploy=found.deploy,
        backend=chosen.backend,
        precision=chosen.precision,
        exits=() if winner is None else winner.exits,
        sentence=found.sentence,
        statics=tuple(runtime.row for runtime in runtimes),
        exit_rows=tuple(row for times in looked_into.times for row in exit_rows(times, sizes)),
        finalists=tuple(finalists),
        notes=(*([] if chance is None else [chance]), *left_out, *looked_into.slow),
        times=None if times is None else times.costs(sizes, cascaded=site.network.costs.cascaded),
        static_ms=row.milliseconds,
        setting=setting,
        date=datetime.now(UTC).date().isoformat(),
    )
