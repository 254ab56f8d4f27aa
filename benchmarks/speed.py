"""From a trained run to its page under results/: promise, accuracy and cost, wall time, peers; by commands alone.

    python benchmarks/speed.py RUN results/speed/NAME [--backbone RUN] [--peers]

For each policy (`--max-accuracy-loss 0.01`, `--budget 0.5`) the run is calibrated, exported for ONNX Runtime and timed
against its static network; so is a bundle with all exits on and none taken, which shows what exits cost when they save
nothing. Run it on an otherwise idle machine. RUN is copied first and stays as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shallowdeep.checkpoint import read_manifest
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.exits.policy_file import write_policy

HERE = Path(__file__).parent
POLICIES = {"loss-1-point": ["--max-accuracy-loss", "0.01"], "half-cost": ["--budget", "0.5"]}


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command; its progress is shown."""
    print("$ shallowdeep", *arguments, file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "shallowdeep", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def without_place(document: dict[str, Any]) -> dict[str, Any]:
    """A document to publish: of what it was made from the name alone, not where that lay on this machine."""
    return {key: Path(value).name if key in {"run", "bundle"} else value for key, value in document.items()}


def measure(run: Path, out: Path, threads: int, *, backbone: Path | None, peers: bool) -> None:
    """Calibrate, export, compare and time; everything is written to ``out``."""
    against = [] if backbone is None else ["--backbone", str(backbone)]
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        shutil.copytree(run, work / "run", ignore=shutil.ignore_patterns("predictions"))
        for name, asked in POLICIES.items():
            (out / name).mkdir(parents=True, exist_ok=True)
            calibrated = shallowdeep("calibrate", str(work / "run"), *asked, *against)
            (out / name / "calibrate.json").write_text(json.dumps(without_place(calibrated), indent=2) + "\n")
            shallowdeep("export", str(work / "run"), "--out", str(work / name))
            command = [sys.executable, str(HERE / "parity.py"), str(work / "run"), str(work / name)]
            parity = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            (out / name / "parity.json").write_text(parity)
            time_bundle(work / name, out / name, threads)
            if peers and name == "loss-1-point":
                command = [sys.executable, str(HERE / "peers.py"), str(work / "run"), str(work / name)]
                command += ["--threads", str(threads), "--out", str(out / name / "peers.json")]
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        weights = read_manifest(run).weights
        never = shared_threshold(NEVER, len(read_manifest(run).exits), weights=str(weights["sha256"]))
        write_policy(never, work / "never.json")
        shallowdeep("export", str(work / "run"), "--policy", str(work / "never.json"), "--out", str(work / "never"))
        (out / "none-taken").mkdir(parents=True, exist_ok=True)
        time_bundle(work / "never", out / "none-taken", threads)


def time_bundle(bundle: Path, out: Path, threads: int) -> None:
    """Time one bundle."""
    shallowdeep("bench", str(bundle), "--threads", str(threads), "--out", str(out))
    document = json.loads((out / "bench.json").read_text())
    (out / "bench.json").write_text(json.dumps(without_place(document), indent=2) + "\n")


def page(out: Path, command: str) -> str:
    """The page that tells all figures."""
    lines = [f"# {out.name}: early exits on the clock", ""]
    for name, asked in POLICIES.items():
        calibrated, bench = (json.loads((out / name / f"{what}.json").read_text()) for what in ("calibrate", "bench"))
        lines += [f"## `calibrate {' '.join(asked)}`", ""]
        if calibrated.get("promise"):
            lines += [f"> {calibrated['promise']['sentence']}", ""]
        parity = json.loads((out / name / "parity.json").read_text())
        lines += [reached(calibrated), "", *bench_table(bench), ""]
        explained = f"{parity['different']} that lie within 1e-4 of a threshold or a tie"
        lines += [
            f"On {parity['images']:,} calibration images the bundle answers as the network, but for {explained}.",
            "",
        ]
        lines += [f"![speed-up by batch size]({name}/bench.png)", "", *peers_table(out / name / "peers.json")]
    bench = json.loads((out / "none-taken" / "bench.json").read_text())
    lines += ["## All exits on, none taken", "", *bench_table(bench), "", measured(bench), ""]
    return "\n".join([*lines, f"    {command}"]) + "\n"


def reached(calibrated: dict[str, Any]) -> str:
    """What a policy gives on the test split."""
    test, backbone = calibrated["test"], calibrated["backbone"]
    beside = (
        "" if backbone is None else f", {100 * backbone['accuracy_lost']:+.2f} against the separately trained backbone"
    )
    lost = 100 * (test["final_accuracy"] - test["accuracy"])
    shares = " ".join(f"{100 * share:.0f}" for share in test["exit_shares"])
    return (
        f"Test ({test['samples']:,} images): accuracy {100 * test['accuracy']:.2f} %, {lost:+.2f} points lost against "
        f"its own final exit{beside}, at a mean relative cost of {test['relative_cost']:.3f}; "
        f"% that leave at each exit: {shares}."
    )


def measured(bench: dict[str, Any]) -> str:
    """Where and how."""
    machine = bench["machine"]
    return (
        f"ONNX Runtime, {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['date']}; "
        f"{bench['images']:,} test images of {bench['data']}; {bench['rounds']} rounds of turns; speed-ups are "
        "medians of paired ratios with 95 % bootstrap intervals. `ideal` is what the exits taken allow, by times of "
        "the segments in the same run; docs/reference/bundles-and-policies.md says how."
    )


def bench_table(bench: dict[str, Any]) -> list[str]:
    """One line a batch size."""
    lines = ["| batch | static ms | engine ms | speed-up | ideal | of ideal | ideal by MACs | outside segments |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for batch in bench["batches"]:
        cells = [
            str(batch["batch_size"]), f"{batch['static_ms']:.2f}", f"{batch['engine_ms']:.2f}",
            f"**{batch['speedup']['median']:.2f}** {interval(batch['speedup'])}", f"{batch['ideal_speedup']:.2f}",
            f"{batch['of_ideal']:.2f}", f"{batch['ideal_speedup_macs']:.2f}", f"{100 * batch['overhead_share']:.1f} %",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", f"Peak memory {bench['peak_memory']['ratio']:.2f} times the static run's."]


def interval(ratio: dict[str, float]) -> str:
    """A ratio's interval."""
    return f"[{ratio['low']:.2f}, {ratio['high']:.2f}]"


def peers_table(path: Path) -> list[str]:
    """One line a worker, if peers were timed."""
    if not path.exists():
        return []
    document = json.loads(path.read_text())
    sizes = [batch["batch_size"] for batch in document["batches"]]
    lines = ["The same in other hands, ms per batch (times our engine's):", ""]
    lines += ["| | " + " | ".join(f"batch {size}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name in document["batches"][0]["workers"]:
        cells = []
        for batch in document["batches"]:
            worker = batch["workers"][name]
            ratio = worker["shallowdeep_is_faster_by"]
            factor = (
                "" if name == "shallowdeep" else f" ({ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}])"
            )
            cells.append(f"{worker['ms']:.2f}{factor}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backbone", type=Path, help="separately trained, to compare accuracy with")
    parser.add_argument("--peers", action="store_true", help="needs earlyon: pip install earlyon==0.3.0")
    parser.add_argument("--page-only", action="store_true", help="write the page of figures that are there")
    arguments = parser.parse_args()
    if not arguments.page_only:
        measure(arguments.run, arguments.out, arguments.threads, backbone=arguments.backbone, peers=arguments.peers)
    backbone = f" --backbone {arguments.backbone}" if arguments.backbone else ""
    command = f"python benchmarks/speed.py {arguments.run} {arguments.out}{backbone}"
    text = page(arguments.out, command + (" --peers" if arguments.peers else ""))
    (arguments.out / "README.md").write_text(text)


if __name__ == "__main__":
    main()
