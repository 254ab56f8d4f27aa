"""``shallowdeep demo``: the whole story on bundled data."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shallowdeep.cli.options import AsJson, context
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress

if TYPE_CHECKING:
    from shallowdeep.analysis.evaluation import Evaluation

MODEL, DATA = "resnet20", "mnist5k"
BACKBONE_EPOCHS, IC_EPOCHS = 6, 10
GALLERY = 12  # samples


def demo(
    *,
    out: Annotated[
        Path, typer.Option(help="Directory of the demo's two runs; renewed each time, older results in them deleted.")
    ] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Tell the whole story on 5,000 bundled digits, in under 3 minutes."""
    from shallowdeep.artifacts import PAGE
    from shallowdeep.report.tables import evaluation_tables
    from shallowdeep.runs.config import TrainConfig
    from shallowdeep.workflows.analyze import How, analyze_run
    from shallowdeep.workflows.evaluate import evaluate_run
    from shallowdeep.workflows.report import write_report
    from shallowdeep.workflows.train import train_run

    started = time.perf_counter()
    backbone, network = out / "backbone", out / "ic-only"
    console = notes()
    with TerminalProgress() as progress:
        run_as = context(progress)
        console.rule("1  A plain classifier", align="left")
        console.print(f"{MODEL} learns 5,000 handwritten digits. Like any network it spends the same work on each.")
        settings = TrainConfig(data=DATA, model=MODEL, recipe="backbone", epochs=BACKBONE_EPOCHS)
        train_run(settings, backbone, overwrite=True, context=run_as)
        console.rule("2  The same network, made shallow-deep", align="left")
        console.print(
            "It is traced, cut where one tensor is alive, and gets an internal classifier at each of six cuts.\n"
            "Only these learn; the backbone stays as it is, bit for bit."
        )
        settings = TrainConfig(data=DATA, recipe="ic-only", init=str(backbone), epochs=IC_EPOCHS)
        train_run(settings, network, overwrite=True, context=run_as)
        console.rule("3  Judged exit by exit, on digits it has never seen", align="left")
        found, files = evaluate_run(network, context=run_as)
        console.rule("4  How it overthinks, on a page", align="left")
        analyzed, _ = analyze_run(network, How(), run_as)
        write_report(analyzed, network / PAGE, GALLERY)
    show(found, evaluation_tables(found), as_json=as_json)
    seconds = time.perf_counter() - started
    for line in _conclusion(found, network / PAGE, files[-1], seconds):
        console.print(line, soft_wrap=True)


def _conclusion(found: Evaluation, page: Path, picture: Path, seconds: float) -> list[str]:
    final = found.accuracies[-1]
    enough = next(number for number, accuracy in enumerate(found.accuracies) if accuracy >= final - 0.01)
    cost = found.exits[enough].relative_cost
    return [
        f"Exit {enough} is within one point of the final classifier at {cost:.0%} of its cost;",
        f"some exit is right for {found.cumulative_accuracy:.1%} of the digits, the final one for {final:.1%}.",
        f"\nOpen {page} in a browser: how the network overthinks, digit by digit.",
        f"Picture: {picture}   ({seconds:.0f} s in all)",
        "Next, your own images (a folder with train/CLASS/*.jpg) and a network for them:",
        "  source .venv/bin/activate",
        "  shallowdeep train --data FOLDER --model torchvision:resnet18 --recipe joint --out runs/first",
        "  shallowdeep report runs/first",
    ]
