"""A trained network to a bundle, and whether to deploy it: training, plan, calibration, export, timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from shallowdeep.bench.loss_warning import UNPROMISED
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.calibration.calibrate import check_sizes
from shallowdeep.calibration.calibration_report import CalibrationReport
from shallowdeep.calibration.objective import Objective
from shallowdeep.context import RunContext
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.promises import Promise, points
from shallowdeep.files import reading
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.export import check_free
from shallowdeep.inference.plan_record import STATIC, Plan
from shallowdeep.inference.precision import runtime_name
from shallowdeep.runs.config import TrainConfig
from shallowdeep.workflows.bench import bench_bundle
from shallowdeep.workflows.calibrate import Choice, calibrate_run
from shallowdeep.workflows.export import export_run
from shallowdeep.workflows.plan import plan_run
from shallowdeep.workflows.train import train_run

IC_ONLY = "ic-only"
BATCH_SIZES, ROUNDS = (1, 64), 9


@dataclass(frozen=True)
class SpeedUp:
    """What exits gain at one batch size.

    Attributes:
        batch_size: images in a batch.
        speedup: time of the static network over the engine's.
        pays: whether the whole interval is above 1.
    """

    batch_size: int
    speedup: PairedRatio
    pays: bool


@dataclass(frozen=True)
class Conversion:
    """What the command ``convert`` tells.

    Attributes:
        bundle: its path.
        run: path of the run behind it.
        model: name of the network.
        dataset: name of the data.
        static_accuracy: of the unmodified network on ``test``, a fraction.
        accuracy: of the bundle there.
        relative_cost: mean multiply-adds of the bundle there, over the unmodified network's.
        samples: of ``test``.
        runtime: that the bundle is for, with its precision.
        statics: runtimes that the unmodified network was timed in.
        promise: on the accuracy lost; None for none.
        speedups: one a batch size, against the unmodified network in the bundle's runtime and precision.
        deploy: whether that is the bundle, not the static network.
        verdict: one sentence on what to deploy.
        notes: what a reader must not overlook, such as weights that may have seen the images of the promise.
    """

    bundle: str
    run: str
    model: str
    dataset: str
    static_accuracy: float
    accuracy: float
    relative_cost: float
    samples: int
    runtime: str
    statics: tuple[str, ...]
    promise: Promise | None
    speedups: tuple[SpeedUp, ...]
    deploy: bool
    verdict: str
    notes: tuple[str, ...]


def convert_network(
    config: TrainConfig,
    run: Path,
    bundle: Path,
    objective: Objective | Choice,
    *,
    held_out: str | None = None,
    threads: int,
    resume: bool = False,
    overwrite: bool = False,
    context: RunContext,
) -> Conversion:
    """Train exits on a network's frozen weights, choose when to leave, export, and time it.

    Args:
        config: of the training; its recipe is ``ic-only``, and it says where the weights come from.
        run: directory of the run, made here.
        bundle: directory of the bundle, made here.
        objective: what the policy is to do; a function gives it for the number of ``certify`` images and the relative
            cost of leaving at the first exit.
        held_out: images that the network has not seen, to calibrate on in place of held-out training images.
        threads: of each side that is timed.
        resume: go on with an unfinished run, and make the bundle anew.
        overwrite: replace run and bundle.
        context: progress, trust, device, and what to do with bad images.

    Raises:
        ConfigurationError: weights are not named, the recipe is another one, or ``certify`` is too small.
        ShallowDeepError: any of its kinds; nothing old is lost.
    """
    if config.recipe != IC_ONLY or not (config.weights or config.init):
        raise ConfigurationError("Expected a trained network by --weights, got none; shallowdeep train trains one")
    check_free(bundle, overwrite=overwrite or resume)

    def examine(data: DataSplits) -> None:
        if isinstance(objective, Objective) and held_out is None:
            check_sizes(objective, len(data.certify), data.cut_from)

    context.progress.say("1/5  Exits are trained on the network, whose weights stay as they are")
    trained = train_run(config, run, resume=resume, overwrite=overwrite, examine=examine, context=context)
    context = replace(context, trust=True)  # the run names the code that the caller named
    with reading(run):
        context.progress.say("2/5  Every runtime and precision is timed here, and exits that could win")
        plan, _ = plan_run(run, objective, batch_sizes=BATCH_SIZES, held_out=held_out, context=context)
        context.progress.say("3/5  When to exit is chosen on images that were held out")
        calibrated, _ = calibrate_run(run, objective, held_out=held_out, follow_plan=True, context=context)
        context.progress.say("4/5  The bundle is written")
        written = export_run(run, bundle, overwrite=overwrite or resume, context=context)
    context.progress.say("5/5  The bundle is timed against the unmodified network")
    timed, _ = bench_bundle(
        bundle, data=None, batch_sizes=BATCH_SIZES, rounds=ROUNDS, threads=threads, out=bundle, context=context
    )
    speedups = tuple(SpeedUp(one.batch_size, one.speedup, one.speedup.low > 1) for one in timed.batches)
    found = verdict(written, calibrated, speedups, plan, asked=isinstance(objective, Objective))
    return Conversion(
        bundle=str(bundle),
        run=str(run),
        model=trained.config.model,
        dataset=calibrated.dataset,
        static_accuracy=calibrated.test.final_accuracy,
        accuracy=calibrated.test.accuracy,
        relative_cost=calibrated.test.relative_cost,
        samples=calibrated.test.samples,
        runtime=runtime_name(written.backend, written.precision),
        statics=tuple(row.name for row in plan.statics),
        promise=calibrated.promise,
        speedups=speedups,
        deploy=found.deploy,
        verdict=found.sentence,
        notes=(*calibrated.notes, *timed.warnings),
    )


class Verdict(NamedTuple):
    """What to deploy.

    Attributes:
        deploy: the bundle, not the static network.
        sentence: says so, and why.
    """

    deploy: bool
    sentence: str


def verdict(
    made: Bundle, calibrated: CalibrationReport, speedups: Sequence[SpeedUp], plan: Plan, *, asked: bool
) -> Verdict:
    """Return what to deploy, with speed, accuracy and what is promised of it.

    The bundle, where it is faster at some batch size, and loses at most a point on ``test`` or what a promise that was
    asked for allows.

    Args:
        made: the bundle.
        calibrated: the policy, and what it does on ``test``.
        speedups: one a batch size.
        plan: that it follows.
        asked: whether the objective is the user's own.
    """
    bundle, test = made.path, calibrated.test
    keep = f"Keep the static network ({bundle / str(made.static)})"
    if calibrated.chance is not None:
        return Verdict(False, f"Nothing can be said. {calibrated.chance}")
    if plan.deploy == STATIC:
        return Verdict(False, f"{plan.sentence} It is in {bundle}.")
    if len(calibrated.policy.in_use) == 1:
        return Verdict(False, f"{keep}: no early exit keeps what was asked for, so the policy never exits early.")
    best = max(speedups, key=lambda one: one.speedup.median)
    paying = [one for one in speedups if one.pays]
    if not paying:
        return Verdict(
            False,
            f"{keep}: exits save {100 * (1 - test.relative_cost):.0f} % of its multiply-adds, but no time here "
            f"({best.speedup.median:.2f} times its speed at best, at batch size {best.batch_size}).",
        )
    speed = " and ".join(f"{one.speedup.median:.2f} times as fast at batch size {one.batch_size}" for one in paying)
    others = [str(one.batch_size) for one in speedups if not one.pays]
    except_at = f" (at {' and '.join(others)} keep the static network)" if others else ""
    accuracy = (
        f"right on {100 * test.accuracy:.1f} % of {test.samples:,} test images where the static network is on "
        f"{100 * test.final_accuracy:.1f} %"
    )
    if test.accuracy_lost > UNPROMISED and (calibrated.promise is None or not asked):
        lost = f"{100 * test.accuracy_lost:.1f} points may be lost"
        stricter = "; --max-accuracy-loss, with more held-out images if need be, asks for less"
        return Verdict(False, f"{keep}, unless {lost}: {bundle} is {speed}{except_at}, but {accuracy}{stricter}.")
    promised = (
        "nothing is promised of its accuracy"
        if calibrated.promise is None
        else f"promised to lose at most {points(calibrated.promise.max_loss)}"
    )
    return Verdict(True, f"Deploy {bundle}: {speed}{except_at}, {accuracy}; {promised}.")
