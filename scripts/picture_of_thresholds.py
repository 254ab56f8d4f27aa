"""Draw how thresholds are chosen, from real predictions: ``docs/concepts/thresholds.svg``.

    .venv/bin/python scripts/picture_of_thresholds.py [--run RUN] [--out FILE]

trains a small network on the embedded digits for about a minute, unless RUN holds one already, calibrates it with a
promise, and draws the four steps: how the data is split, the candidates on ``tune``, the test on ``certify``, and the
chosen policy on the test split.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from shallowdeep import ExitPredictions, Policy, load_dataset
from shallowdeep.calibration.calibrate import calibrate_predictions
from shallowdeep.calibration.candidates import Candidate, candidates, pareto_front
from shallowdeep.calibration.certification import sequence_to_test
from shallowdeep.calibration.objective import Objective
from shallowdeep.cli.main import run as shallowdeep
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.choice import ByLoss
from shallowdeep.exits.outcome import Outcome, final_answers, outcome_of

DATA, FRACTION, SEED = "mnist5k", 0.3, 0
TRAIN = (
    "train", "--data", DATA, "--model", "resnet20", "--recipe", "joint", "--epochs", "4",
    "--calibration-fraction", str(FRACTION), "--seed", str(SEED),
)  # fmt: skip
LOSS = 0.02
"""Largest accuracy loss: two points, what 800 ``certify`` samples can promise with room to spare."""

OUT = Path(__file__).parents[1] / "docs" / "concepts" / "thresholds.svg"
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"  # Okabe and Ito's palette
MOST_NAMED = 12  # bars with their costs below them
SIZE = (6.6, 11.2)  # inches: one column, so that it can be read on a phone


@dataclass(frozen=True, eq=False)
class Story:
    """What is drawn.

    Attributes:
        train: images that the network learned from.
        tune: predictions that everything is chosen on.
        certify: predictions that decide about the promise.
        test: predictions that are read once, at the end.
        objective: what was asked for.
        found: all candidates.
        sequence: the candidates to test, dearest first.
        policy: the one chosen.
    """

    train: int
    tune: ExitPredictions
    certify: ExitPredictions
    test: ExitPredictions
    objective: Objective
    found: list[Candidate]
    sequence: list[Candidate]
    policy: Policy


def main() -> None:
    """Train where need be, calibrate, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="RUN made before; trained anew without it")
    parser.add_argument("--out", type=Path, default=OUT, help="SVG or PNG file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or Path(folder) / "run"
        if arguments.run is None:
            _do([*TRAIN, "--out", str(run)])
        _do(["calibrate", str(run), "--max-accuracy-loss", str(LOSS)])
        story = read_story(run)
    mpl.rcParams.update({"svg.hashsalt": "thresholds", "font.size": 11, "axes.spines.top": False})
    mpl.rcParams["axes.spines.right"] = False
    picture = draw(story)
    picture.savefig(arguments.out, dpi=100, metadata={"Date": None} if arguments.out.suffix == ".svg" else None)
    print(f"Written: {arguments.out}")


def read_story(run: Path) -> Story:
    """Return what was chosen on a run's predictions, and from what.

    Args:
        run: a RUN, trained by `TRAIN`, that `calibrate` has written the predictions of.
    """
    tune, certify, test = (ExitPredictions.load(run / "predictions" / f"{n}.npz") for n in ("tune", "certify", "test"))
    objective = Objective(max_accuracy_loss=LOSS)
    calibration = calibrate_predictions(objective, tune, certify)
    found = candidates(tune, calibration.base, [to_numpy(tune.labels)])
    sequence = sequence_to_test(found, tune, risk=objective.risk, samples=certify.samples)
    train = len(load_dataset(DATA, image_size=32, calibration_fraction=FRACTION, seed=SEED).train)
    return Story(train, tune, certify, test, objective, found, sequence, calibration.policy)


def draw(story: Story) -> Figure:
    """Return the figure: four steps, one below the other."""
    figure = Figure(figsize=SIZE, layout=ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.08))
    rows: NDArray[Any] = figure.subplots(4, 1, height_ratios=[1.0, 3.4, 2.4, 2.2])
    _draw_splits(rows[0], story)
    _draw_candidates(rows[1], story)
    _draw_test(rows[2], story)
    _draw_chosen(rows[3], story)
    return figure


def _do(arguments: Sequence[str]) -> None:
    """Run the command line, and leave where it fails."""
    status = shallowdeep(list(arguments))
    if status:
        sys.exit(status)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=12, fontweight="bold")


def _draw_splits(axes: Axes, story: Story) -> None:
    """Draw the images as one bar, cut in four."""
    parts = {
        "train": (story.train, "#D9D9D9"),
        "tune": (story.tune.samples, "#9ECAE1"),
        "certify": (story.certify.samples, "#FDBE85"),
        "test": (story.test.samples, "#A1D99B"),
    }
    left = 0
    for name, (samples, colour) in parts.items():
        axes.barh(0, samples, left=left, color=colour, edgecolor="white", linewidth=2)
        axes.text(left + samples / 2, 0, f"{name}\n{samples:,}", ha="center", va="center")
        left += samples
    axes.set_xlim(0, left)
    axes.set_axis_off()
    _title(axes, f"1. The {left:,} images are split by seed")


def _draw_candidates(axes: Axes, story: Story) -> None:
    """Draw every candidate's cost and accuracy on ``tune``, the front, and the sequence to test."""
    labels = to_numpy(story.tune.labels)
    final = float((final_answers(story.tune) == labels).mean())
    front = pareto_front(story.found, labels)
    styles: tuple[tuple[list[Candidate], dict[str, Any]], ...] = (
        (story.found, {"color": GREY, "marker": "o", "markersize": 3.5, "linestyle": "", "alpha": 0.6}),
        (front, {"color": BLUE, "linewidth": 1.5, "drawstyle": "steps-post"}),
        (story.sequence, {"color": VERMILION, "marker": "D", "markersize": 6, "linestyle": "", "mec": "white"}),
    )
    names = (
        f"{len(story.found)} candidate policies",
        "their front: nothing is better and cheaper",
        f"{len(story.sequence)} of them, to be tested on certify",
    )
    for (policies, style), name in zip(styles, names, strict=True):
        accuracies = [float((policy.answers == labels).mean()) for policy in policies]
        axes.plot([policy.relative_cost for policy in policies], accuracies, label=name, **style)
    axes.axhline(final, color="black", linewidth=1, linestyle="--", label="final exit")
    axes.axhline(final - LOSS, color="black", linewidth=1, linestyle=":", label=f"{100 * LOSS:g} points below")
    axes.set_ylim(final - 0.1, final + 0.012)
    axes.set_xlabel("mean relative cost")
    axes.set_ylabel("accuracy on tune")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower right", fontsize=10, frameon=False)
    _title(axes, f"2. Candidates are compared on tune ({story.tune.samples:,} images)")


def _draw_test(axes: Axes, story: Story) -> None:
    """Draw the p-values of the walk, and where it stops."""
    found = story.policy.found
    if found is None or not isinstance(found.rule, ByLoss):
        raise ConfigurationError("Expected a policy that was promised to lose little, got another")
    walked = found.rule.sequence
    delta = 1 - story.objective.confidence
    passed = [step.p_value <= delta for step in walked]
    places = np.arange(1, len(walked) + 1)
    for good, colour, name in ((True, GREEN, "passes"), (False, VERMILION, "does not pass: stop")):
        kept = [place for place, ok in zip(places, passed, strict=True) if ok is good]
        heights = [walked[place - 1].p_value for place in kept]
        axes.bar(kept, heights, color=colour, width=0.6, label=name)
    axes.axhline(delta, color="black", linewidth=1, linestyle="--", label=f"level {delta:.2f}")
    chosen = int(np.flatnonzero(passed)[-1]) + 1
    axes.annotate("chosen", (chosen, walked[chosen - 1].p_value), xytext=(3, 4), textcoords="offset points", ha="right")
    named = places[:: -(-len(places) // MOST_NAMED)]
    axes.set_xticks(named, [f"{walked[place - 1].tune_relative_cost:.2f}" for place in named])
    axes.set_ylim(0, delta * 1.75)
    axes.set_xlabel("relative cost of the policy on tune: from careful to bold")
    axes.set_ylabel("p-value")
    axes.legend(loc="upper left", fontsize=10, frameon=False, ncols=3)
    _title(axes, f"3. They are tested in turn on certify ({story.certify.samples:,} images)")


def _draw_chosen(axes: Axes, story: Story) -> None:
    """Draw where test images leave under the chosen policy."""
    outcome: Outcome = outcome_of(story.policy, story.test)
    shares = outcome.exit_shares(story.policy.exits)
    bars = axes.bar(range(len(shares)), shares, color=BLUE, width=0.6)
    axes.bar_label(bars, [f"{100 * share:.1f} %" for share in shares], fontsize=10, padding=2)
    thresholds = ["off" if value is None else f"{value:.2f}" for value in story.policy.thresholds]
    axes.set_xticks(
        range(len(shares)),
        [*(f"{place}\n≥ {text}" if text != "off" else f"{place}\noff" for place, text in enumerate(thresholds)),
         f"{len(shares) - 1}\nfinal"],
    )  # fmt: skip
    lost = float((final_answers(story.test) == to_numpy(story.test.labels)).mean()) - outcome.accuracy
    axes.set_xlabel("exit, and its threshold")
    axes.set_ylabel("test images leaving")
    axes.set_ylim(0, max(shares) * 1.2)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.text(
        0.98, 0.9,
        f"mean relative cost {outcome.relative_cost:.2f}\naccuracy {100 * outcome.accuracy:.1f} %, "
        f"{100 * lost:.1f} points\nbelow the final exit",
        transform=axes.transAxes, ha="right", va="top",
    )  # fmt: skip
    _title(axes, f"4. The chosen policy on test ({story.test.samples:,} images, read once)")


if __name__ == "__main__":
    main()
