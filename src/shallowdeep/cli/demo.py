"""``shallowdeep demo``: the whole story on bundled data."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shallowdeep.cli.options import AsJson, Threads, context, writable_place
from shallowdeep.cli.terminal import notes, show
from shallowdeep.files import exclusive
from shallowdeep.machine import use_threads
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.analysis.evaluation import Evaluation
    from shallowdeep.bench.comparison import Comparison
    from shallowdeep.calibration.calibration_report import CalibrationReport

MODEL, DATA = "resnet20", "mnist5k"
BACKBONE_EPOCHS, IC_EPOCHS, BATCH_SIZE = 6, 10, 64
HELD_OUT = 0.4  # of the training images: enough for a promise of one point, and for all that the page fits on them
LOSS = 0.01  # of accuracy, a fraction
ROUNDS = 3  # of timing
GALLERY = 12  # samples

_NEAR = 0.01  # one point
_BUNDLE = "bundle"
_CERTIFY = "(certify: two thirds of the held-out digits, read for this promise alone.)"


def demo(
    *,
    out: Annotated[
        Path,
        typer.Option(
            callback=writable_place,
            help="Directory of the demo's two runs and a bundle; renewed each time, older results deleted.",
        ),
    ] = Path("demo"),
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story on 5,000 bundled digits, in under 3 minutes."""
    if threads is not None:
        use_threads(threads)
    try:
        with exclusive(out):
            _tell(out, as_json=as_json)
    except KeyboardInterrupt:
        notes().print(
            f"\nThe demo was stopped; what it made so far is in {out}. A new demo replaces it.", soft_wrap=True
        )
        raise


def _tell(out: Path, *, as_json: bool) -> None:
    """Train, evaluate, calibrate, export and report, each step told before it begins."""
    from shallowdeep.artifacts import PAGE
    from shallowdeep.report.tables import evaluation_tables
    from shallowdeep.workflows.analyze import How, analyze_run
    from shallowdeep.workflows.evaluate import evaluate_run
    from shallowdeep.workflows.report import write_report

    started = time.perf_counter()
    network, console = out / "ic-only", notes()
    _train(out / "backbone", network)
    _step("3  Judged exit by exit, on digits it has never seen")
    with TerminalProgress() as progress:
        found, files = evaluate_run(network, context=context(progress))
    show(found, evaluation_tables(found), as_json=as_json)
    console.print(_judged(found), soft_wrap=True)
    _step("4  When to stop, with a promise")
    console.print(_promised(_calibrate(network)), soft_wrap=True)
    _step("5  On the clock, without PyTorch")
    console.print(_timed(_bench(network, out / _BUNDLE)), soft_wrap=True)
    _step("6  How it overthinks, on a page")
    with TerminalProgress() as progress:
        analyzed, _ = analyze_run(network, How(), context(progress))
        write_report(analyzed, network / PAGE, GALLERY)
    seconds = time.perf_counter() - started
    console.print(_closing(network / PAGE, files[-1], out / _BUNDLE, seconds), soft_wrap=True)


def _step(title: str) -> None:
    notes().rule(title, align="left")


def _train(backbone: Path, network: Path) -> None:
    """Train a backbone, then internal classifiers on it."""
    from shallowdeep.runs.config import TrainConfig
    from shallowdeep.workflows.train import train_run

    console = notes()
    with TerminalProgress() as progress:
        run_as = context(progress)
        _step("1  A plain classifier")
        console.print(
            f"{MODEL} learns to read handwritten digits. Like any network it spends the same work on each.\n"
            f"{100 * HELD_OUT:.0f} % of the training images are held out: they show how well it does on digits it has "
            "not learned from,\nand decide later when it may stop early.",
            soft_wrap=True,
        )
        settings = TrainConfig(
            data=DATA, model=MODEL, recipe="backbone", epochs=BACKBONE_EPOCHS, batch_size=BATCH_SIZE,
            calibration_fraction=HELD_OUT,
        )  # fmt: skip
        train_run(settings, backbone, overwrite=True, context=run_as)
        _step("2  The same network, made shallow-deep")
        console.print(
            "It is traced, cut where one tensor is alive, and gets an internal classifier at each cut: an early exit.\n"
            "Only these learn; the backbone, which is the network above, stays as it is, bit for bit.",
            soft_wrap=True,
        )
        settings = replace(settings, recipe="ic-only", init=str(backbone), epochs=IC_EPOCHS)
        train_run(settings, network, overwrite=True, context=run_as)


def _calibrate(network: Path) -> CalibrationReport:
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.workflows.calibrate import calibrate_run

    with TerminalProgress() as progress:
        report, _ = calibrate_run(network, Objective(max_accuracy_loss=LOSS), context=context(progress))
    return report


def _bench(network: Path, bundle: Path) -> Comparison:
    from shallowdeep.workflows.bench import bench_bundle
    from shallowdeep.workflows.export import export_run

    with TerminalProgress() as progress:
        run_as = context(progress)
        export_run(network, bundle, overwrite=True, context=run_as)
        comparison, _ = bench_bundle(
            bundle, data=None, batch_sizes=(1,), rounds=ROUNDS, threads=1, out=None, context=run_as
        )
    return comparison


def _judged(found: Evaluation) -> str:
    """What the table of exits comes to."""
    final, last = found.accuracies[-1], len(found.accuracies) - 1
    enough = next(number for number, accuracy in enumerate(found.accuracies) if accuracy >= final - _NEAR)
    cost = 100 * found.exits[enough].relative_cost
    near = (
        f"Exit {enough} is within one point of the final classifier at {cost:.0f} % of the network's cost"
        if enough < last
        else "No exit before the final classifier is within one point of it"
    )
    some = f"some exit is right for {100 * found.cumulative_accuracy:.1f} % of the digits"
    return (
        f"{near}; {some}, the final one for {100 * final:.1f} %.\n"
        "With a threshold each digit leaves at the first exit that is confident enough."
    )


def _promised(report: CalibrationReport) -> str:
    """What the policy does on the test digits, and what is promised."""
    test = report.test
    lost = f"{100 * abs(test.accuracy_lost):.1f} points {'below' if test.accuracy_lost >= 0 else 'above'}"
    promise = "" if report.promise is None else f"\nThe promise: {report.promise.sentence}\n{_CERTIFY}"
    return (
        f"With the thresholds chosen on held-out digits, the test digits cost {100 * test.relative_cost:.0f} % of the "
        f"network's work,\nand {100 * test.accuracy:.1f} % are right: {lost} the final classifier.{promise}"
    )


def _timed(comparison: Comparison) -> str:
    """How fast the exported network is beside the unmodified one."""
    timing = comparison.batches[0]
    ratio = timing.speedup
    return (
        f"Exported to ONNX, run by {comparison.backend}, one digit at a time on one thread: {timing.engine_ms:.2f} ms "
        f"with early exits,\n{timing.static_ms:.2f} ms without: {ratio.median:.1f} times the speed "
        f"({ratio.low:.1f} to {ratio.high:.1f}) on this machine."
    )


def _closing(page: Path, picture: Path, bundle: Path, seconds: float) -> str:
    """Where to look, and what to try next."""
    lines = [
        f"Open {page} in a browser: how the network overthinks, digit by digit.",
        f"Picture: {picture}   Bundle: {bundle}   ({seconds:.0f} s in all)",
        "\nNext, your own images (a folder with train/CLASS/*.jpg) and a network for them:",
        "  source .venv/bin/activate",
        "  shallowdeep train --data FOLDER --model torchvision:resnet18 --recipe joint --out runs/first",
        "  shallowdeep report runs/first",
    ]
    return "\n".join(lines)
