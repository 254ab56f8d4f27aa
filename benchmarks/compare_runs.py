"""One table and one picture of several evaluated runs on the same data.

    python benchmarks/compare_runs.py results/cifar10-resnet56 backbone ic-only joint

reads DIRECTORY/RUN/metrics.json of each run (written by `shallowdeep evaluate`) and writes DIRECTORY/README.md and
DIRECTORY/comparison.png.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

from paired import machine

from shallowdeep.analysis.evaluation import Evaluation, evaluation_from
from shallowdeep.analysis.operating_points import OperatingPoint
from shallowdeep.report.figures import comparison_figure, save_figure


def percent(value: float | None) -> str:
    """A fraction as per cent with one decimal, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def row(name: str, found: Evaluation) -> str:
    """One run's line of the table."""
    points = {point.rule: point for point in found.operating_points}
    nothing = OperatingPoint("", None)
    exits = " ".join(percent(exit_.accuracy) for exit_ in found.exits)
    cells = [name, exits]
    cells += [percent(points.get(f"cost <= {budget} %", nothing).accuracy) for budget in (25, 50, 75)]
    cost = points.get("points lost <= 1", nothing).relative_cost
    cells += ["-" if cost is None else f"{cost:.2f}", percent(found.cumulative_accuracy)]
    return "| " + " | ".join(cells) + " |"


def commands(directory: Path, names: list[str]) -> list[str]:
    """The commands that train and judge such runs again."""
    lines = []
    for name in names:
        source = f"--config {directory / name / 'config.toml'}"
        lines += [f"    shallowdeep train {source} --out runs/{name}", f"    shallowdeep evaluate runs/{name}"]
    return lines


def against_backbone(evaluations: dict[str, Evaluation]) -> list[str]:
    """What each run's final exit gains or loses against the separately trained backbone, where that is among them."""
    if "backbone" not in evaluations:
        return []
    reference = evaluations["backbone"].accuracies[-1]
    gaps = [
        f"{name} {100 * (found.accuracies[-1] - reference):+.2f}"
        for name, found in evaluations.items()
        if name != "backbone"
    ]
    return [f"Final exits against the separately trained backbone, in points: {', '.join(gaps)}.", ""]


def history_of(run: Path) -> str:
    """Epochs and minutes that the run's history tells."""
    records = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return f"{len(records)} epochs, {sum(record['seconds'] for record in records) / 60:.0f} min"


def main() -> None:
    """Write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("runs", nargs="+")
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    evaluations = {
        name: evaluation_from(json.loads((directory / name / "metrics.json").read_text())) for name in arguments.runs
    }
    configs = {name: tomllib.loads((directory / name / "config.toml").read_text()) for name in arguments.runs}
    first, config = evaluations[arguments.runs[0]], configs[arguments.runs[0]]
    for name in arguments.runs:
        for key in ("data", "model", "seed", "weights_dtype"):
            if configs[name].get(key) != config.get(key):
                parser.error(f"Expected {key} of {name} to be {config.get(key)!r}, got {configs[name].get(key)!r}")
    notes = directory / "notes.md"
    here = machine()
    lines = [
        f"# {config['model']} on {config['data']}",
        "",
        f"Seed {config['seed']}; {first.samples:,} {first.split} images; one threshold for all exits,",
        f"chosen on `tune`. Weights are stored as {config['weights_dtype']} and evaluated, rounded so, in float32.",
        f"Compared on {here['cpu']}, {here['cores']} cores, torch {here['torch']}, {here['date']}.",
        "",
        "| run | accuracy of exits, % | cost ≤ 25 % | ≤ 50 % | ≤ 75 % | cost at ≤ 1 point lost | some exit right |",
        "|---|---|---|---|---|---|---|",
        *[row(name, found) for name, found in evaluations.items()],
        "",
        "Points are lost against the run's own final exit. Training, by the runs' own histories: "
        + "; ".join(f"{name} {history_of(directory / name)}" for name in arguments.runs)
        + ". Caching of features is not counted.",
        "",
        *against_backbone(evaluations),
        *([notes.read_text().strip(), ""] if notes.exists() else []),
        "![accuracy against cost](comparison.png)",
        "",
        "Such runs are made by",
        "",
        *commands(directory, arguments.runs),
        "",
        "and this page by",
        "",
        f"    python benchmarks/compare_runs.py {directory} {' '.join(arguments.runs)}",
    ]
    (directory / "README.md").write_text("\n".join(lines) + "\n")
    save_figure(comparison_figure(evaluations), directory / "comparison.png")


if __name__ == "__main__":
    main()
