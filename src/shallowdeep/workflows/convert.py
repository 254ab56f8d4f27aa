"""A trained network to a bundle that exits early, and whether to deploy it: training, calibration, export, timing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shallowdeep.bench.comparison import BatchTiming, Comparison
from shallowdeep.bench.loss_warning import points
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.calibration.calibration_report import CalibrationReport
from shallowdeep.calibration.objective import Objective
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.promises import Promise
from shallowdeep.inference.export import check_free
from shallowdeep.runs.config import TrainConfig
from shallowdeep.workflows.bench import bench_bundle
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run
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
        promise: on the accuracy lost; None for none.
        speedups: one a batch size, float32, in the bundle's runtime.
        deploy: whether exits pay on this machine at any of the batch sizes.
        verdict: one sentence on what to deploy.
    """

    bundle: str
    run: str
    model: str
    dataset: str
    static_accuracy: float
    accuracy: float
    relative_cost: float
    samples: int
    promise: Promise | None
    speedups: tuple[SpeedUp, ...]
    deploy: bool
    verdict: str


def convert_network(
    config: TrainConfig,
    run: Path,
    bundle: Path,
    objective: Objective | Callable[[int], Objective],
    *,
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
        objective: what the policy is to do; a function gives it for the number of ``certify`` images.
        threads: of each side that is timed.
        resume: go on with an unfinished run, and make the bundle anew.
        overwrite: replace run and bundle.
        context: progress, trust, device, and what to do with bad images.

    Raises:
        ConfigurationError: weights are not named, or the recipe is another one.
        ShallowDeepError: any of its kinds; nothing old is lost.
    """
    if config.recipe != IC_ONLY or not (config.weights or config.pretrained or config.init):
        raise ConfigurationError(
            "Expected a trained network by --weights or --pretrained, got none; shallowdeep train trains one"
        )
    check_free(bundle, overwrite=overwrite or resume)
    context.progress.say("1/4  Exits are trained on the network, whose weights stay as they are")
    trained = train_run(config, run, resume=resume, overwrite=overwrite, context=context)
    context = replace(context, trust=True)  # the run names the code that the caller named
    context.progress.say("2/4  When to exit is chosen on images that were held out")
    calibrated, _ = calibrate_run(run, objective, context=context)
    context.progress.say("3/4  The bundle is written")
    export_run(run, bundle, overwrite=overwrite or resume, context=context)
    context.progress.say("4/4  The bundle is timed against the unmodified network")
    timed, _ = bench_bundle(
        bundle, data=None, batch_sizes=BATCH_SIZES, rounds=ROUNDS, threads=threads, out=bundle, context=context
    )
    speedups = _speedups(timed)
    return Conversion(
        bundle=str(bundle),
        run=str(run),
        model=trained.config.model,
        dataset=calibrated.dataset,
        static_accuracy=calibrated.test.final_accuracy,
        accuracy=calibrated.test.accuracy,
        relative_cost=calibrated.test.relative_cost,
        samples=calibrated.test.samples,
        promise=calibrated.promise,
        speedups=speedups,
        deploy=any(one.pays for one in speedups) and len(calibrated.policy.in_use) > 1,
        verdict=verdict(bundle, calibrated, speedups),
    )


def verdict(bundle: Path, calibrated: CalibrationReport, speedups: Sequence[SpeedUp]) -> str:
    """Return one sentence: what to deploy, its speed, its accuracy and what is promised of it.

    Args:
        bundle: where it is.
        calibrated: the policy, and what it does on ``test``.
        speedups: one a batch size.
    """
    keep, test = f"Keep the static network ({bundle / 'static.onnx'})", calibrated.test
    if len(calibrated.policy.in_use) == 1:
        return f"{keep}: no early exit can be promised to lose little enough."
    best = max(speedups, key=lambda one: one.speedup.median)
    paying = [one for one in speedups if one.pays]
    if not paying:
        return (
            f"{keep}: exits save {100 * (1 - test.relative_cost):.0f} % of its multiply-adds, but no time here "
            f"({best.speedup.median:.2f} times its speed at best, at batch size {best.batch_size})."
        )
    speed = " and ".join(f"{one.speedup.median:.2f} times as fast at batch size {one.batch_size}" for one in paying)
    others = [str(one.batch_size) for one in speedups if not one.pays]
    except_at = f" (at {' and '.join(others)} keep the static network)" if others else ""
    promised = (
        "nothing is promised of its accuracy"
        if calibrated.promise is None
        else f"promised to lose at most {points(calibrated.promise.max_loss)}"
    )
    return (
        f"Deploy {bundle}: {speed}{except_at}, right on {100 * test.accuracy:.1f} % of {test.samples:,} test images "
        f"where the static network is on {100 * test.final_accuracy:.1f} %; {promised}."
    )


def _speedups(timed: Comparison) -> tuple[SpeedUp, ...]:
    """Return what exits gain, batch size by batch size."""

    def of(batch: BatchTiming) -> SpeedUp:
        return SpeedUp(batch.batch_size, batch.speedup, batch.speedup.low > 1)

    return tuple(of(batch) for batch in timed.batches)
